"""Windows of time: since and until as an operator gives them, fixed by the database's clock."""

from eventbus.errors import InvalidTime
from eventbus.storage import replay_selection
from eventbus.storage.database import Connection
from eventbus.storage.replay_selection import Bounds
from eventbus.times import parse_moment


def resolve_window(connection: Connection, since: object, until: object) -> Bounds:
    """The window from *since* up to *until*, as of now; None leaves an end open.

    Raises:
        InvalidTime: One is not a time, or the window is empty.
    """
    begin = None if since is None else parse_moment("since", since)
    end = None if until is None else parse_moment("until", until)
    bounds = replay_selection.resolve_bounds(connection, since=begin, until=end)
    if bounds.since is not None and bounds.until is not None and bounds.since >= bounds.until:
        raise InvalidTime("since", since, f"is not before until={until!s:.40}")
    return bounds
