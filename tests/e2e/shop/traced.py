"""A shop whose worker processes each trace for themselves: a tracer provider's threads do not survive a fork."""

import os
from datetime import timedelta
from typing import Any

from celery import Celery, signals
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from eventbus import Delivery, Event, EventBus
from eventbus.errors import EventBusError

app = Celery("traced")
app.conf.update(broker_connection_retry_on_startup=True, task_ignore_result=True, worker_prefetch_multiplier=1)
bus = EventBus(app)


@signals.worker_process_init.connect
def trace_in_this_process(**_: Any) -> None:
    """Export what this process of the pool does."""
    provider = TracerProvider(resource=Resource.create({"service.name": "shop", "service.instance.id": os.getpid()}))
    exporter = OTLPSpanExporter(os.environ["TRACES"])
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=100))
    trace.set_tracer_provider(provider)


class Refused(EventBusError):
    """The first try is refused."""


@bus.subscribe("order.created", group="stock", max_retries=2, backoff=timedelta(milliseconds=50))
def reserve(event: Event, delivery: Delivery) -> None:
    """Fail first, then tell that the stock is reserved."""
    if delivery.attempt == 1 and delivery.replay is None:
        raise Refused("not yet")
    bus.publish("stock.reserved", {}, source="stock")


@bus.subscribe("order.created", group="analytics")
@bus.subscribe("stock.reserved", group="analytics")
def count(event: Event) -> None:
    """Publish nothing."""


@bus.subscribe("stock.reserved", group="mail")
async def announce(event: Event) -> None:
    """Tell that a mail was sent, as the end of a chain that nobody hears."""
    bus.publish("mail.sent", {}, source="mail")
