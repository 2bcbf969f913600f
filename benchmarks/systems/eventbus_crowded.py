"""eventbus with a thousand subscriptions more, none of which matches what is published."""

from benchmarks.systems import eventbus
from benchmarks.systems.eventbus import publish, publish_many
from eventbus import Event

__all__ = ["prepare", "publish", "publish_many"]

SUBSCRIPTIONS = 999


def ignore(event: Event) -> None:
    """Never called."""


def prepare() -> None:
    """Create the tables, and subscribe to a thousand other things."""
    for number in range(SUBSCRIPTIONS):
        eventbus.bus.subscribe(f"other.thing-{number}", group=f"other-{number}", handler=ignore)
    eventbus.prepare()
