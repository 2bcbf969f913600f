"""Messages that come twice, too early, or for what does not exist."""

import random
from uuid import UUID, uuid4

import psycopg2
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from eventbus.broker import WakeUp
from eventbus.errors import EventBusError
from tests.chaos.faults.fault import Fault, pause
from tests.chaos.stage import GROUPS, Stage, queue


def repeat(stage: Stage, chance: random.Random) -> None:
    """Wake-ups for what is pending, running, done or dead, and for nothing at all."""
    try:
        with stage.rows() as rows, stage.operator() as bus:
            found = rows.all("SELECT event_id::text FROM eventbus.delivery ORDER BY event_id DESC LIMIT 200")
            ids = [UUID(id) for (id,) in found] + [uuid4() for _ in range(20)]
            chosen = chance.choices(ids, k=150)
            bus.broker.send(
                [WakeUp(queue=queue(chance.choice(GROUPS)), event_id=id, type="again") for id in chosen], []
            )
    except (EventBusError, psycopg2.OperationalError):
        stage.notes.append("repeated messages: a server was away")


def come_early(stage: Stage, chance: random.Random) -> None:
    """Wake-ups for an event that is not committed yet, and commits while ids larger than its own are seen."""
    fact = {"number": f"early-{chance.random()}", "mood": "ok", "seconds": 0, "from": 1, "to": 2, "amount": 50}
    try:
        with stage.operator() as bus, Session(bus.database.engine) as session:
            event = bus.publish("transfer.ordered", fact, source="early", session=session)
            bus.broker.send([WakeUp(queue=queue(group), event_id=event.id, type=event.type) for group in GROUPS], [])
            pause(chance.uniform(0.5, 1.5))
            session.commit()
    except (EventBusError, DBAPIError):
        stage.notes.append("early messages: a server was away")


FAULTS = (
    Fault(name="messages repeated", strike=repeat, place="messages"),
    Fault(name="messages before the commit", strike=come_early, place="messages"),
)
