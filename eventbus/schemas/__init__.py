"""What events look like, whether a change of that breaks anybody, and how old events are read by new code.

    conversion ─▶ JSON Schema ─▶ projection ─▶ compatibility
    canonical (publish)   reading (consume)   upcasting (between)   export (documentation)

Pure: knows no SQL and no Celery.
"""
