"""Storage: the only place that speaks SQL.

One function per question or change; the connection comes first, nothing here commits. Times are the database's clock.
"""
