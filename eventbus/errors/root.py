"""The root of the tree."""

from collections.abc import Sequence


class EventBusError(Exception):
    """Root of the tree: catch it to catch all that eventbus raises on purpose."""

    index: int | None = None  #: Of publish_many: which item it is about, from 0.
    recorded: Sequence[object] = ()  #: Of publish_many: the events of the batches before.
