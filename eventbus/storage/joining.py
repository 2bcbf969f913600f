"""Joining: whether an event can be written in the transaction of a session that the caller has made.

session ─▶ its connection ─┬─ PostgreSQL, in a transaction ─▶ written to
                           └─ else ─▶ InvalidInput, before anything is written
"""

import sqlalchemy

from eventbus.errors import InvalidInput


def require_transaction(connection: sqlalchemy.Connection) -> None:
    """Make sure that what is written on *connection* of a session is undone by the session's rollback; asks nothing of the server.

    Raises:
        InvalidInput: It is not.
    """
    if _commits_by_itself(connection):
        raise InvalidInput(
            "session= is in AUTOCOMMIT, so the event would stay after a rollback: give its engine or connection another "
            "isolation level, or publish without session=."
        )


def _commits_by_itself(connection: sqlalchemy.Connection) -> bool:
    driver = connection.connection.dbapi_connection
    return driver is not None and connection.dialect.detect_autocommit_setting(driver)
