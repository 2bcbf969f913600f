"""What can go wrong while a throwaway server is looked up or started.

EventBusError
├── ConfigurationError
│   └── BinaryNotFound
│       └── ServerBinaryNotFound     no URL, no named binary, no wheel, no system server
└── ServerNotStarted                 the server ended, or was not ready in time
"""

from collections.abc import Sequence

from eventbus.errors import BinaryNotFound, EventBusError


class ServerBinaryNotFound(BinaryNotFound):
    """None of the four places that may offer a server has one."""

    def __init__(self, server: str, places: Sequence[str]) -> None:
        self.server = server
        self.places = tuple(places)
        listing = "\n".join(f"  {number}. {place}" for number, place in enumerate(places, start=1))
        super().__init__(f"No {server} server was found; provide any one of these, tried in this order:\n{listing}")


class ServerNotStarted(EventBusError):
    """A server ended before it was ready, or was not ready in time; the end of its log is in the message."""

    def __init__(self, server: str, reason: str, log_tail: str) -> None:
        self.server = server
        self.reason = reason
        self.log_tail = log_tail
        super().__init__(f"{server} did not start: {reason}. The end of its log:\n{log_tail or '(empty)'}")
