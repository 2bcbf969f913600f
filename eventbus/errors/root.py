"""The root of the tree."""

from collections.abc import Mapping, Sequence
from typing import Any


class EventBusError(Exception):
    """Root of the tree: catch it to catch all that eventbus raises on purpose."""

    index: int | None = None  #: Of publish_many: which item it is about, from 0.
    recorded: Sequence[object] = ()  #: Of publish_many: the events of the batches before.

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, as between the processes of a pool: the message and the facts, for they are not what it was made from."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[EventBusError], args: tuple[Any, ...], facts: Mapping[str, Any]) -> EventBusError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(facts)
    return error
