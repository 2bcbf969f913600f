"""Joining: whether an event can be written in the transaction of a session that the caller has made.

session ─▶ its connection ─┬─ PostgreSQL, in a transaction ─▶ written to
                           └─ else ─▶ InvalidInput, before anything is written
"""

import sqlalchemy
from sqlalchemy.exc import (
    DBAPIError,
    MissingGreenlet,
    PendingRollbackError,
    SQLAlchemyError,
    StatementError,
)

from eventbus.errors import InvalidInput
from eventbus.storage.failures import sqlstate

#: What becomes of an AsyncSession.
THROUGH_RUN_SYNC = (
    "of an AsyncSession pass what 'await session.run_sync(lambda session: bus.publish(..., session=session))' gives."
)
FAILED_BEFORE = (
    "session= is in a transaction that has failed before: roll it back, or back to a savepoint, then publish again."
)
_ABORTED = "25P02"


def require_transaction(connection: sqlalchemy.Connection) -> None:
    """Make sure that what is written on *connection* of a session is undone by the session's rollback; asks nothing of the server.

    Raises:
        InvalidInput: It is not.
    """
    if connection.dialect.name != "postgresql":
        raise InvalidInput(
            f"session= is on {connection.dialect.name}: pass one that is on the PostgreSQL of the bus, or publish without "
            "session=."
        )
    if _commits_by_itself(connection):
        raise InvalidInput(
            "session= is in AUTOCOMMIT, so the event would stay after a rollback: give its engine or connection another "
            "isolation level, or publish without session=."
        )


def has_failed_before(error: SQLAlchemyError) -> bool:
    """Whether *error* says no more than that an earlier one has ended the transaction, but for its rollback."""
    code = sqlstate(error) if isinstance(error, DBAPIError) else ""
    return code == _ABORTED or isinstance(error, PendingRollbackError)


def refusal(error: SQLAlchemyError) -> InvalidInput:
    """What is wrong with the session for which SQLAlchemy raised *error* before it asked the server."""
    cause = (isinstance(error, StatementError) and error.orig) or error
    if isinstance(cause, MissingGreenlet):
        return InvalidInput(f"session= is the inside of an AsyncSession: {THROUGH_RUN_SYNC}")
    reason = str(cause.args[0] if cause.args else type(cause).__name__).splitlines()[0].rstrip(".")
    return InvalidInput(f"session= cannot be used: {reason}; pass one that is on the PostgreSQL of the bus.")


def _commits_by_itself(connection: sqlalchemy.Connection) -> bool:
    driver = connection.connection.dbapi_connection
    return driver is not None and connection.dialect.detect_autocommit_setting(driver)
