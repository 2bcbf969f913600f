"""A small company's services on one Celery app, for tests that start real workers.

app ─ include ─▶ orders · failures · handlers       what a handler does is asked for by the event's data
no_give_up, shaky                                   the same app with the in-task failure path removed, or failing
mixed                                               an app whose queues and tasks were there before the bus
"""
