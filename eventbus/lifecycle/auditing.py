"""Auditing: each change that an operator makes leaves an entry: who, what, which, how many, and how it ended.

begin (committed) ─▶ the change ─▶ end        what was cut short stays "began"
"""

import getpass
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from eventbus.errors import DatabaseError
from eventbus.storage import audit
from eventbus.storage.database import Database

_actor: ContextVar[str | None] = ContextVar("eventbus_actor", default=None)


@dataclass(kw_only=True)
class Change:
    """A change that is under way; whoever makes it says how many rows it changed."""

    changed: int | None = None
    result: str = "done"


@contextmanager
def acting_as(who: str) -> Iterator[None]:
    """Let changes be those of *who*, as a web page knows its user, rather than of this process's user."""
    token = _actor.set(who)
    try:
        yield
    finally:
        _actor.reset(token)


@contextmanager
def audited(
    database: Database, action: str, filter: Mapping[str, Any], *, asked: int | None = None
) -> Iterator[Change]:
    """Keep an entry of the change that the block makes.

    Args:
        filter: What is changed, as JSON values; what is None is left out.
        asked: How many rows the operator was told.
    """
    given = {name: value for name, value in filter.items() if value is not None}
    with database.autocommit() as connection:
        id = audit.begin(connection, who=whoami(), action=action, filter=given, asked=asked)
    change = Change()
    try:
        yield change
    except BaseException as error:  # whatever ends it is what became of it
        change.result = f"failed: {type(error).__name__}"
        # The entry that has begun says enough, and the error must not be lost.
        with suppress(DatabaseError):
            _end(database, id, change)
        raise
    _end(database, id, change)


def whoami() -> str:
    """The one who acts: user@host, unless `acting_as` says who."""
    if (actor := _actor.get()) is not None:
        return actor
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _end(database: Database, id: int, change: Change) -> None:
    with database.autocommit() as connection:
        audit.end(connection, id, changed=change.changed, result=change.result)
