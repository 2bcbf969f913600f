"""The Celery app that the sample services share, and the bus on it.

celery -A workers.app worker -Q eventbus.inventory
"""

from celery import Celery

from eventbus import EventBus

app = Celery("workers")
app.config_from_object("celeryconfig")
bus = EventBus(app)
