"""The inventory service: reserves stock for each order."""

from sqlalchemy import insert
from sqlalchemy.orm import Session

from eventbus import Event
from workers.app import bus
from workers.tables import reservation


@bus.subscribe("order.created", group="inventory", max_retries=3)
def reserve_stock(event: Event, session: Session) -> None:
    """Note the reservation; it is committed together with the delivery."""
    session.execute(insert(reservation).values(event_id=event.id, order_id=event.data["orderId"]))
