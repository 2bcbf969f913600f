"""The analytics service: adds up what was sold."""

from decimal import Decimal

from sqlalchemy import insert
from sqlalchemy.orm import Session

from eventbus import Event
from workers.app import bus
from workers.tables import sale


@bus.subscribe("order.*", group="analytics")
def count_sale(event: Event, session: Session) -> None:
    """Note the amount of each order that was created; other events of orders have none."""
    if event.type == "order.created":
        amount = Decimal(str(event.data["amount"]))
        session.execute(insert(sale).values(event_id=event.id, order_id=event.data["orderId"], amount=amount))
