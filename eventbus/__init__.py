"""eventbus: publish once, any number of consumer groups, nothing lost. Celery-native, on PostgreSQL and Redis.

Names are imported when they are first used, so that the command line's help needs neither Celery nor SQLAlchemy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.delivery import Delivery
    from eventbus.event import Draft, Event
    from eventbus.schemas.event_schema import EventSchema

__version__ = "0.1.0"
__all__ = ["Delivery", "Draft", "Event", "EventBus", "EventSchema", "__version__"]

_HOMES = {
    "Delivery": "eventbus.delivery",
    "Draft": "eventbus.event",
    "Event": "eventbus.event",
    "EventBus": "eventbus.bus",
    "EventSchema": "eventbus.schemas.event_schema",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'eventbus' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
