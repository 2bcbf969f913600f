"""The groups: one moves money in its session, one notes in its session, one notes outside of it. The event says how it behaves.

celery -A tests.chaos.shop worker -Q <prefix>.accounts
"""

import os
import signal
import threading
from datetime import timedelta
from functools import cache
from typing import Any

import sqlalchemy
from celery import Celery
from sqlalchemy.orm import Session

from eventbus import Delivery, Event, EventBus

EFFECT = sqlalchemy.text(
    "INSERT INTO chaos.effect (event_id, group_name, in_session) VALUES (:event_id, :group, :in_session)"
)
RUN = sqlalchemy.text("INSERT INTO chaos.run (event_id, group_name) VALUES (:event_id, :group)")
MOVE = sqlalchemy.text("UPDATE chaos.account SET balance = balance + :amount WHERE id = :id")
POLICY: dict[str, Any] = {"max_retries": 6, "backoff": timedelta(milliseconds=200), "backoff_max": timedelta(seconds=1)}

app = Celery("chaos")
app.conf.update(
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_default_queue=f"{os.environ['EVENTBUS_PREFIX']}.ordinary",
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
)
bus = EventBus(app)


@bus.subscribe("transfer.*", group="accounts", timeout=timedelta(seconds=20), **POLICY)
def move_money(event: Event, delivery: Delivery, session: Session) -> None:
    """What one account loses another gains: in whatever order, and however often, the sum stays."""
    begin(event, delivery)
    changes = {event.data["from"]: -event.data["amount"], event.data["to"]: event.data["amount"]}
    for id in sorted(changes):  # in one order, so that two transfers never wait for each other
        session.execute(MOVE, {"id": id, "amount": changes[id]})
    session.execute(EFFECT, effect(event, delivery, in_session=True))
    behave(event, delivery)


@bus.subscribe("#", group="ledger", timeout=timedelta(seconds=20), **POLICY)
def note_in_session(event: Event, delivery: Delivery, session: Session) -> None:
    """A row that is committed with the delivery, or not at all."""
    begin(event, delivery)
    session.execute(EFFECT, effect(event, delivery, in_session=True))
    behave(event, delivery)


@bus.subscribe("transfer.#", group="courier", timeout=timedelta(seconds=20), **POLICY)
def note_outside(event: Event, delivery: Delivery) -> None:
    """A row that stays, whatever becomes of the delivery."""
    begin(event, delivery)
    behave(event, delivery)
    with engine(os.getpid()).connect() as connection:
        connection.execute(EFFECT, effect(event, delivery, in_session=False))


if os.environ.get("CHAOS_GUEST"):

    @bus.subscribe("#", group="guest", timeout=timedelta(seconds=20), **POLICY)
    def look(event: Event, delivery: Delivery) -> None:
        """For as long as it is subscribed."""
        begin(event, delivery)


def begin(event: Event, delivery: Delivery) -> None:
    """Note that a run has begun, to be seen even if it ends badly."""
    with engine(os.getpid()).connect() as connection:
        connection.execute(RUN, {"event_id": event.id, "group": delivery.group})


def effect(event: Event, delivery: Delivery, *, in_session: bool) -> dict[str, object]:
    """The parameters of `EFFECT`."""
    return {"event_id": event.id, "group": delivery.group, "in_session": in_session}


def behave(event: Event, delivery: Delivery) -> None:
    """Do as the event says that its handlers do."""
    mood = event.data["mood"]
    if mood == "slow":
        threading.Event().wait(event.data["seconds"])
    elif mood == "fails once" and delivery.attempt == 1:
        raise ValueError("the first run fails")
    elif mood == "always fails":
        raise ValueError("every run fails")
    elif mood == "kills":
        os.kill(os.getpid(), signal.SIGKILL)


@cache
def engine(_pid: int) -> sqlalchemy.Engine:
    """Connections past the proxy: the books are not to suffer from the storm more than they must."""
    url = os.environ["CHAOS_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://")
    return sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True, pool_size=1)
