"""Messages: what a page that is being looked at is told, as server-sent events."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Message:
    """Something for a page."""

    #: ``fragment`` or ``data``, as console.js understands them.
    event: str
    body: Any

    def encoded(self) -> bytes:
        """As a server-sent event."""
        # JSON in ASCII has no line ends, which would end the event.
        return f"event: {self.event}\ndata: {json.dumps(self.body)}\n\n".encode()


class Source(Protocol):
    """Something to wait for, until it is closed from another thread; closing it ends the iteration."""

    def __iter__(self) -> Iterator[Any]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Tail:
    """What comes, when it comes."""

    source: Source
    #: What to send of an item; None for nothing.
    show: Callable[[Any], Message | None]
