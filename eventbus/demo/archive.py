"""The archive: a service that is subscribed to everything and keeps what its handler received.

celery -A eventbus.demo.archive worker -Q eventbus.archive
"""

from celery import Celery
from sqlalchemy import Column, MetaData, Table, Text, Uuid, insert
from sqlalchemy.orm import Session

from eventbus import Event, EventBus
from eventbus.wire import canonical

app = Celery("archive")
app.config_from_object("celeryconfig")
# It shares the configuration of the sample services, not their handlers.
app.conf.imports = ()
bus = EventBus(app)

received = Table(
    "received",
    MetaData(schema="sample"),
    Column("event_id", Uuid, nullable=False, index=True),
    Column("type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("canonical", Text, nullable=False),
)


@bus.subscribe("#", group="archive")
def keep(event: Event, session: Session) -> None:
    """Keep the event as canonical JSON, made here from what arrived here."""
    row = {"event_id": event.id, "type": event.type, "source": event.source, "canonical": canonical(event.data)}
    session.execute(insert(received).values(row))
