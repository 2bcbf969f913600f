"""The notification service: confirms each order to the customer."""

from datetime import timedelta

from sqlalchemy import insert
from sqlalchemy.orm import Session

from eventbus import Event
from workers.app import bus
from workers.tables import email


@bus.subscribe("order.created", group="notification", max_retries=2, backoff=timedelta(milliseconds=500))
def confirm_order(event: Event, session: Session) -> None:
    """Note the confirmation that would be sent.

    Raises:
        ValueError: The address is malformed.
    """
    address = event.data.get("email", "unknown@example.com")
    if address.count("@") != 1:
        raise ValueError(f"{address!r} is not an email address")
    session.execute(insert(email).values(event_id=event.id, address=address))
