"""EventBus: the composition root. It puts the parts together and holds no logic of its own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, Self, TypeVar

from celery import Celery
from marshmallow import Schema

from eventbus import broker
from eventbus.errors import InvalidInput
from eventbus.event import Draft, Event
from eventbus.lifecycle import relaying, sweeping
from eventbus.lifecycle.publishing import Publisher
from eventbus.lifecycle.waking import Waking
from eventbus.operations.browsing import BrowsingOperations
from eventbus.operations.dead_letters import DeadLetterOperations
from eventbus.operations.groups import GroupOperations
from eventbus.operations.listening import ListenOperations
from eventbus.operations.monitoring import MonitoringOperations
from eventbus.operations.replays import ReplayOperations
from eventbus.operations.schemas import SchemaOperations
from eventbus.retry import RetryPolicy
from eventbus.schemas.contracts import reads_of
from eventbus.schemas.registry import SchemaRegistry
from eventbus.settings import NAMES, Settings, load_settings
from eventbus.storage.database import Database
from eventbus.subscription import Handler, Subscriptions, declare
from eventbus.worker.serving import Serving

Handles = TypeVar("Handles", bound=Handler)


class EventBus(
    GroupOperations,
    DeadLetterOperations,
    ReplayOperations,
    ListenOperations,
    MonitoringOperations,
    BrowsingOperations,
    SchemaOperations,
):
    """An event bus on PostgreSQL and the broker of a Celery app.

    Making one opens no connection and reads no configuration: that happens at first use, so a bus can be a module's global.
    Safe to share between threads, and to use after a fork.
    """

    def __init__(self, app: Celery, **settings: Any) -> None:
        """Attach a bus to *app*.

        Args:
            app: Its workers run the handlers; its configuration may hold ``eventbus_*`` settings.
            settings: Any of `Settings`' fields by name (``lease_seconds`` for the lease); they win over the environment.

        Raises:
            InvalidInput: *app* is no Celery app.
        """
        if not isinstance(app, Celery):
            raise InvalidInput(f"EventBus takes a Celery app, not {app!r:.60}: write EventBus(Celery(…)).")
        self.app = app
        self.schemas = SchemaRegistry()
        self.subscriptions = Subscriptions()
        self._arguments = settings
        self._serving = Serving(
            app,
            self.subscriptions,
            settings=lambda: self.settings,
            database=lambda: self.database,
            broker=lambda: self.broker,
            waking=lambda: self.waking,
            reading=lambda: self.reading,
        )

    @classmethod
    def from_env(cls, **settings: Any) -> Self:
        """A bus for a service that only publishes, or operates: EVENTBUS_DATABASE_URL and EVENTBUS_BROKER_URL say where."""
        return cls(Celery("eventbus", set_as_current=False), **settings)

    @cached_property
    def settings(self) -> Settings:
        """Where the bus lives and how it behaves.

        Raises:
            ConfigurationError: A setting is missing or cannot be used.
        """
        conf = self.app.conf
        # Asked by name: as a mapping, a configuration with a namespace has other names.
        given = {f"eventbus_{name}": conf.get(f"eventbus_{name}") for name in NAMES}
        given["eventbus_broker_url"] = given["eventbus_broker_url"] or conf.broker_write_url
        settings = load_settings(self._arguments, celery=given)
        # Workers of the app must listen where publishers push.
        if conf.get("broker_url") != settings.broker_url:
            conf.broker_url = settings.broker_url
        return settings

    @cached_property
    def database(self) -> Database:
        return Database(self.settings.database_url, schema=self.settings.schema, prepare=self.settings.prepare)

    @cached_property
    def broker(self) -> broker.Broker:
        return broker.connect(self.app, self.settings)

    def subscribe(
        self,
        pattern: str,
        *,
        group: str,
        handler: Handler | None = None,
        max_retries: int = 3,
        backoff: timedelta = timedelta(seconds=2),
        backoff_max: timedelta = timedelta(minutes=10),
        give_up_on: tuple[type[BaseException], ...] = (),
        timeout: timedelta = timedelta(minutes=15),
        replay: str = "run",
        reads: type[Schema] | Sequence[str] | None = None,
        version: int | None = None,
    ) -> Callable[[Handles], Handles]:
        """Have events of *pattern* handled for *group* by the decorated function, or by *handler*.

        Args:
            pattern: An event type in which ``*`` stands for one word and a last ``#`` for any number of them.
            group: Each group gets each event once, whatever its number of workers.
            handler: Takes the event and, by name, ``delivery`` and ``session``; ``def`` or ``async def``.
            max_retries: Retries after the first run: 3 means at most 4 runs.
            backoff: The longest wait before the first retry; it doubles each time. Waits are random up to that.
            backoff_max: The longest wait before any retry.
            give_up_on: Exceptions that no retry can mend: they end in a dead letter at once.
            timeout: A longer run counts as a failed attempt.
            replay: ``skip`` if replays must not reach this handler.
            reads: What the handler reads of an event: a schema of these fields, by which ``event.load()`` loads, or their wire
                paths, such as ``["orderId", "lines[].sku"]``. Whoever changes the event's form learns whom that breaks.
            version: The version in which the handler gets its events, converted if need be; those that cannot be are parked.
                Left out, each comes as it was published.

        Raises:
            InvalidPattern, InvalidGroup, InvalidSubscription: What was declared cannot be used.
            SubscriptionConflict: Another handler of the group could claim the same event.
        """
        retry = RetryPolicy(max_retries=max_retries, backoff=backoff, backoff_max=backoff_max, give_up_on=give_up_on)

        def register(function: Handles) -> Handles:
            found = declare(
                pattern,
                group=group,
                handler=function,
                timeout=timeout,
                replay=replay,
                retry=retry,
                reads=reads_of(reads),
                reads_schema=reads() if isinstance(reads, type) else None,
                version=version,
            )
            self.subscriptions.add(found)
            self._serving.declared(found)
            return function

        if handler is not None:
            register(handler)
        return register

    def publish(
        self,
        type: str,
        data: Any,
        *,
        source: str,
        version: int | None = None,
        correlation_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        session: Any = None,
    ) -> Event:
        """Record an event and a delivery for each group subscribed to *type*, then wake these groups.

        Args:
            type: 1 to 8 dot-separated words, in the past tense: ``order.created``.
            data: JSON values that fit the type's schema, if it has one.
            source: The publishing service.
            version: Of the schema; needed only where several are registered.
            correlation_id: Ties together what belongs to one story; inherited inside a handler, else generated.
            headers: Strings by name, kept beside the data.
            idempotency_key: Names this one fact of its source for 7 days: publishing it again returns the first event.
            session: A SQLAlchemy session on the same database: the event exists exactly if its transaction commits, and no
                message leaves before. In a handler that takes ``session``, that one is joined by itself.

        Raises:
            InvalidInput, DatabaseError: A subclass says what is wrong. Nothing was recorded, unless it is PublishUncertain.
        """
        draft = Draft(
            type=type,
            data=data,
            source=source,
            version=version,
            correlation_id=correlation_id,
            headers=headers,
            idempotency_key=idempotency_key,
        )
        return self._publisher.publish(draft, session=session)

    def publish_many(self, drafts: Iterable[Draft], *, session: Any = None) -> list[Event]:
        """Publish *drafts*, as they come, in batches of up to 1,000, each all or nothing; the events in their order.

        Raises:
            InvalidInput, DatabaseError: As `publish`; ``index`` is the item, ``recorded`` the events of the batches before.
        """
        return self._publisher.publish_many(drafts, session=session)

    def sweep(self) -> dict[str, int]:
        """Wake the groups that have due deliveries; how many wake-ups each was sent.

        Raises:
            BrokerUnreachable: Some or all were not sent.
        """
        return sweeping.sweep(self.database, self.broker)

    def relay(self) -> None:
        """Wake the groups that have due deliveries and a short queue, as `eventbus relay` does every second.

        Raises:
            BrokerUnreachable: Some or all wake-ups were not sent.
        """
        relaying.relay(self.database, self.broker)

    def settle_orphans(self) -> None:
        """Hand deliveries of removed subscriptions to those that took their place, or cancel them."""
        sweeping.settle_orphans(self.database)

    @cached_property
    def waking(self) -> Waking:
        return Waking(self.broker, self.settings)

    @cached_property
    def _publisher(self) -> Publisher:
        return Publisher(
            database=self.database,
            schemas=self.catalog,
            waking=self.waking,
            settings=self.settings,
            loader=self.reading.load,
        )
