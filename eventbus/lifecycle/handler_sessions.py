"""Handler sessions: a handler's writes and its delivery's completion are one transaction, which only eventbus ends.

    open ─▶ the handler's statements ─▶ commit: the delivery is marked, fenced, then COMMIT
                └─ whoever else commits is refused

The marking is prepared before the transaction begins.
"""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.orm import Session

from eventbus.errors import HandlerError
from eventbus.storage.database import Connection, Database
from eventbus.storage.settling import MARK_DONE

_ENDS_TRANSACTION = re.compile(r"\s*(commit|end|rollback(?!\s+to)|abort|prepare\s+transaction)\b", re.IGNORECASE)
#: In what SQLAlchemy keeps beside a connection: whether its transaction may be committed now.
_MAY_COMMIT = "eventbus_may_commit"


class ClaimLost(Exception):
    """The lease ended while the handler ran, and another worker may have the delivery: nothing of this run counts."""


Settle = Callable[[Connection], bool]


@contextlib.contextmanager
def open_session(database: Database) -> Iterator[Session]:
    """A session whose transaction only `commit` may end."""
    with _guarded(database.engine).connect() as connection:
        connection.info[_MAY_COMMIT] = False
        database.make_ready(connection, MARK_DONE)
        session = Session(bind=connection, expire_on_commit=False)
        try:
            yield session
        finally:
            session.close()


def commit(session: Session, database: Database, settle: Settle) -> None:
    """Write what *session* holds, mark its delivery by *settle*, and commit both.

    Raises:
        ClaimLost: *settle* said so; nothing is committed.
    """
    session.flush()
    with database.join(session, is_ready=True) as connection:
        if not settle(connection):
            raise ClaimLost
        connection.raw.info[_MAY_COMMIT] = True
    session.commit()


@functools.lru_cache(maxsize=16)
def _guarded(engine: sqlalchemy.Engine) -> sqlalchemy.Engine:
    """*engine*, with connections that refuse to end a transaction.

    Kept: listeners on each connection would cost as much time as the handler's own statement.
    """
    guarded = engine.execution_options()
    event.listen(guarded, "commit", _refuse_commit)
    event.listen(guarded, "before_cursor_execute", _refuse_statement)
    return guarded


def _refuse_commit(connection: sqlalchemy.Connection) -> None:
    """On the connection, which the session, its connection() and a begin() block all commit through."""
    if not connection.info[_MAY_COMMIT]:
        # SQLAlchemy takes the transaction for ended, and would hand it, still open, to the connection's next user.
        connection.invalidate()
        raise HandlerError(
            "the handler committed the session that it was given: eventbus commits it together with the delivery, when the "
            "handler returns."
        )


def _refuse_statement(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
    if _ENDS_TRANSACTION.match(statement):
        raise HandlerError(
            f"the handler executed {statement.strip()[:40]!r}, but the session's transaction is eventbus's to end."
        )
