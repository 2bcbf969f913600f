"""Reading: an event as its handler asks for it, in the handler's version and with the handler's schema.

    stored event ─▶ the subscription's version ─▶ Event with load()
                     └─ no way leads there ─▶ UnreachableVersion: the delivery is parked

The same on every path: live, retry, dead-letter retry, replay and backfill run a delivery, and each run reads its event here.
"""

from dataclasses import dataclass, replace
from typing import Any

from eventbus.errors import DatabaseError, UnreachableVersion
from eventbus.event import Event
from eventbus.failure import ends_process
from eventbus.lifecycle.catalog import Catalog
from eventbus.lifecycle.handling import as_failure, limited
from eventbus.schemas.reading import read
from eventbus.subscription import Subscription


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Brings events into the form that a handler reads."""

    catalog: Catalog

    def event_for(self, event: Event, subscription: Subscription) -> Event | BaseException:
        """*event* in the version of *subscription*, able to load; as a value, why that cannot be.

        Returns:
            UnreachableVersion: No way leads there: the delivery is to be parked, uncharged.
            InvalidUpcast: A step on the way failed: the run has, as if the handler had raised it.
            HandlerTimeout: The way took longer than the handler may: the same.
            Any other exception: A schema's own check raised it: the same.

        Raises:
            DatabaseError: What the registry holds could not be read.
        """
        version = subscription.version or event.version
        if version == event.version:
            return self._loadable(event, subscription)
        try:
            with limited(subscription.timeout):
                converted = self.catalog.convert(event.type, event.version, version, event.data)
        except DatabaseError:
            raise
        except BaseException as error:
            # Steps, and schemas' own checks, are the user's code, as handlers are.
            if ends_process(error):
                raise
            return as_failure(error)
        if isinstance(converted, UnreachableVersion):
            return converted
        return self._loadable(replace(event, version=version, data=converted.data), subscription)

    def load(self, event: Event) -> Any:
        """What the schema of *event*'s own version loads.

        Raises:
            DataRefused: The data does not fit it.
        """
        return self.catalog.load(event.type, event.version, event.data)

    def can_read(self, type: str, version: int, subscription: Subscription) -> bool:
        """Whether the handler of *subscription* can be given events of a stored version."""
        wanted = subscription.version or version
        return self.catalog.bridges.can_convert(type, version, wanted)

    def _loadable(self, event: Event, subscription: Subscription) -> Event:
        """*event* with a `load` by the schema that *subscription* reads, else by that of its own version."""
        schema = subscription.reads_schema
        return event.loaded_by(self.load if schema is None else lambda each: read(schema, each.data))
