"""Groups whose handlers are of every kind: async, with a session, publishing themselves."""

import asyncio
import contextlib
import ctypes
import gc
import os
from datetime import timedelta

import sqlalchemy
from sqlalchemy.orm import Session

from eventbus import Delivery, Event
from tests.e2e.shop.app import bus
from tests.e2e.shop.effects import INSERT, note, row, wait_for_gate


@bus.subscribe("async.asked", group="async", max_retries=0, timeout=timedelta(milliseconds=400))
async def handle_later(event: Event, delivery: Delivery) -> None:
    """Give way to the event loop, for as long as the event says, then note; hang if it says so."""
    loop = asyncio.get_running_loop()
    woken = loop.create_future()
    if not event.data.get("hang"):
        loop.call_later(event.data.get("seconds", 0), woken.set_result, None)
    await woken
    note(event, delivery, loop=id(loop), frozen=gc.get_freeze_count())


@bus.subscribe("session.asked", group="session", max_retries=0)
def write_in_session(event: Event, delivery: Delivery, session: Session) -> None:
    """Write through the session, publish, then end as the event asks."""
    session.execute(INSERT, row(event, delivery))
    bus.publish("session.followed", {}, source="shop")
    match event.data.get("then"):
        case "fail":
            raise ValueError("after the effect")
        case "commit":
            session.commit()
        case "commit-below":
            session.connection().commit()
        case "commit-as-statement":
            session.execute(sqlalchemy.text("COMMIT"))
        case "commit-and-go-on":
            with contextlib.suppress(Exception):
                session.commit()


@bus.subscribe("account.moved", group="accounts", max_retries=0)
def move(event: Event, delivery: Delivery, session: Session) -> None:
    """Leave an effect in the session, then wait for the gate that the event names; leave the worker's group before, if asked."""
    if event.data.get("apart"):
        os.setsid()
        # Celery asks Linux to kill children together with their main process; on other systems they are left as orphans.
        ctypes.CDLL(None).prctl(1, 0)
    session.execute(INSERT, row(event, delivery))
    note(event, delivery, step="started")
    if "gate" in event.data:
        wait_for_gate(event.data["gate"])


@bus.subscribe("chain.started", group="chain")
def go_on(event: Event, delivery: Delivery) -> None:
    """Publish what follows, without saying to what it belongs."""
    following = bus.publish("chain.followed", {}, source="shop")
    note(event, delivery, following=str(following.id))


@bus.subscribe("chain.followed", group="chain-end")
def arrive(event: Event, delivery: Delivery) -> None:
    """Note to what the event says that it belongs."""
    note(event, delivery, correlation_id=event.correlation_id, causation_id=str(event.causation_id))
