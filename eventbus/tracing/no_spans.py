"""No spans: what tracing is without OpenTelemetry."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from eventbus.delivery import Delivery
from eventbus.event import Event


class Span:
    """Hears what there would be to say."""

    def recorded(self, events: Sequence[Event]) -> None:
        """Say nothing."""

    def failed(self, error: BaseException) -> None:
        """Say nothing."""


_NOTHING = nullcontext(Span())


def publishing(type: str | None, *, hidden: Sequence[str]) -> AbstractContextManager[Span]:
    """Trace nothing."""
    del type, hidden
    return _NOTHING


def dispatching(events: Sequence[Event], *, groups: int, hidden: Sequence[str]) -> AbstractContextManager[Span]:
    """Trace nothing."""
    del events, groups, hidden
    return _NOTHING


def handling(event: Event, delivery: Delivery, *, hidden: Sequence[str]) -> AbstractContextManager[Span]:
    """Trace nothing."""
    del event, delivery, hidden
    return _NOTHING


def carried() -> dict[str, str]:
    """Nothing is carried on."""
    return {}
