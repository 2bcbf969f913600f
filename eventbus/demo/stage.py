"""The stage: all that the story needs, ready for use, and gone afterwards.

place ─▶ tables ─▶ services (none runs yet) ─▶ publisher
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eventbus.bus import EventBus
from eventbus.demo import archive, orders
from eventbus.demo.evidence import Evidence
from eventbus.demo.narration import Narrator
from eventbus.demo.proof import Figure, StoryStopped, figure
from eventbus.demo.servers import Place, open_place
from eventbus.demo.services import Services, open_services
from eventbus.event import Draft, Event
from eventbus.storage.migrations import upgrade

_POLL_SECONDS = 0.05
#: For anything that is waited for, or for the next of many; on an idle machine it takes two or three.
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the steps of the story act with."""

    #: The publisher: one process, one bus, from the first step to the last. It knows no consumer.
    bus: EventBus
    #: Another one, which knows no schema either.
    bare_bus: EventBus
    services: Services
    evidence: Evidence
    narrator: Narrator

    def publish(self, story: str, count: int = 1, **more: Any) -> list[Event]:
        """Publish *count* orders with *story* as their correlation id."""
        return [
            self.bus.publish(orders.TYPE, orders.order(number, **more), source=orders.SOURCE, correlation_id=story)
            for number in range(1, count + 1)
        ]

    def publish_as_they_are(self, story: str, drafts: Sequence[Draft]) -> list[Event]:
        """Publish *drafts*, whatever schemas their types may have, with *story* as their correlation id."""
        return self.bare_bus.publish_many(replace(draft, correlation_id=story) for draft in drafts)

    def each_once(self, service_table: str, story: str, count: int) -> Figure:
        """That a service did its work once for each of *count* events."""
        rows, of = self.evidence.effects(service_table, story)
        return figure(f"sample.{service_table}: {{}}", f"{rows} rows, {of} orders", f"{count} rows, {count} orders")

    def lose_messages(self, group: str) -> int:
        """Delete all messages for *group* from the broker; how many there were."""
        with self.bus.app.connection_for_write() as connection:
            return int(connection.default_channel.queue_purge(self.bus.settings.queue(group)))

    def find_what_was_lost(self) -> None:
        """Do what `eventbus sweep` does."""
        self.bus.sweep()

    def start(self, group: str, *, app: str = "workers.app") -> None:
        """Start the worker of *group*."""
        self.narrator.command(self.services.start(group, app=app, queue=self.bus.settings.queue(group)))

    def is_subscribed(self, group: str) -> bool:
        """Whether publishers see *group*."""
        return any(item.group == group for item in self.bus.groups())

    def wait(
        self,
        for_what: str,
        condition: Callable[[], bool],
        *,
        meanwhile: Callable[[], Any] = lambda: None,
        every_seconds: float = _POLL_SECONDS,
    ) -> None:
        """Wait until *condition* holds; before each look at it, *meanwhile* is called.

        Raises:
            StoryStopped: It does not hold in time, or a worker ended by itself.
        """
        with self.narrator.waiting(for_what):
            self._poll(for_what, lambda: (condition(), 0), meanwhile, every_seconds)

    def count(
        self, for_what: str, total: int, counted: Callable[[], int], *, meanwhile: Callable[[], Any] = lambda: None
    ) -> None:
        """Wait until *counted* reaches *total*."""
        with self.narrator.waiting(for_what, total) as show:

            def look() -> tuple[bool, int]:
                found = counted()
                show(found)
                return found >= total, found

            self._poll(for_what, look, meanwhile, _POLL_SECONDS)

    def _poll(
        self, for_what: str, look: Callable[[], tuple[bool, int]], meanwhile: Callable[[], Any], every_seconds: float
    ) -> None:
        """Wait until *look* finds it reached; what moves on, however slowly, is given time."""
        deadline, progress = 0.0, -1
        while True:
            meanwhile()
            reached, moved = look()
            if reached:
                return
            self.services.check()
            if moved != progress:
                deadline, progress = time.monotonic() + _PATIENCE_SECONDS, moved
            elif time.monotonic() > deadline:
                raise StoryStopped(f"not within {_PATIENCE_SECONDS:g} s: {for_what}.")
            time.sleep(every_seconds)


@contextmanager
def open_stage(narrator: Narrator) -> Iterator[Stage]:
    """Set the stage.

    Raises:
        EventBusError: A server cannot be started or used.
    """
    with ExitStack() as stack:
        with narrator.waiting("starting servers"):
            place = stack.enter_context(open_place(os.environ))
            upgrade(place.database_url)
            bus, bare_bus = (stack.enter_context(_publisher(place)) for _ in range(2))
            bus.broker.ping()
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="eventbus-demo-", ignore_cleanup_errors=True))
        services = stack.enter_context(
            open_services(Path(folder), place.environment(os.environ), transport_options=place.transport_options)
        )
        services.create_tables()
        bus.register_schema(orders.TYPE, 1, orders.OrderCreated)
        evidence = Evidence(place.database_url)
        stack.callback(evidence.engine.dispose)
        archive.received.create(evidence.engine)
        narrator.say(f"servers: {place.description}")
        narrator.say(f"workers and their logs: {folder}")
        yield Stage(bus=bus, bare_bus=bare_bus, services=services, evidence=evidence, narrator=narrator)


@contextmanager
def _publisher(place: Place) -> Iterator[EventBus]:
    bus = EventBus.from_env(**place.settings)
    bus.app.conf.broker_transport_options = dict(place.transport_options)
    yield bus
    bus.database.dispose()
