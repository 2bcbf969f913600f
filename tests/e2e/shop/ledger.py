"""A group that writes down each event once, in the transaction that also makes its delivery done."""

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from eventbus import Event
from tests.e2e.shop.app import app as app
from tests.e2e.shop.app import bus

INSERT = text("INSERT INTO public.entry (event_id) VALUES (:id)")


@bus.subscribe("entry.asked", group="ledger", max_retries=20, backoff=timedelta(milliseconds=100))
def write_down(event: Event, session: Session) -> None:
    """One more row."""
    session.execute(INSERT, {"id": event.id})
