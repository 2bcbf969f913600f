"""The bus inside a Celery worker: its task class, its queues, and what starts and stops with it."""
