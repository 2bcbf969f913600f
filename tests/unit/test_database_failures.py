"""What PostgreSQL refuses, as an error of our tree."""

from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from eventbus.errors import DatabaseBusy, DatabaseError, DatabaseUnreachable, NotMigrated, WrongDatabase
from eventbus.storage.failures import translate


class OperationalError(Exception):
    """What a driver raises."""

    def __init__(self, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.pgcode = code


class DataError(OperationalError):
    """What a driver raises for a bad value."""


def error(original: Exception, **options: Any) -> DBAPIError:
    """SQLAlchemy's wrapping of it."""
    return DBAPIError("SELECT", {}, original, **options)


@pytest.mark.parametrize(
    ("original", "kind", "says"),
    [
        (OperationalError("x", "42P01"), NotMigrated, "run 'eventbus migrate'"),
        (OperationalError("x", "3F000"), NotMigrated, "run 'eventbus migrate'"),
        (OperationalError("x", "53300"), DatabaseUnreachable, "has no connection left"),
        (OperationalError("x", "25006"), DatabaseUnreachable, "is read-only"),
        (OperationalError("x", "55P03"), DatabaseBusy, "a lock was not granted in time"),
        (OperationalError("x", "57014"), DatabaseBusy, "longer than its limit"),
        (OperationalError("x", "40P01"), DatabaseBusy, "deadlock"),
        (OperationalError("server closed\nthe connection", "57P01"), DatabaseUnreachable, "server closed"),
        (OperationalError("connection refused"), DatabaseUnreachable, "connection refused"),
        (OperationalError(""), DatabaseUnreachable, "the connection was lost"),
        (OperationalError("timeout expired"), DatabaseUnreachable, "no answer in time"),
        (OperationalError('database "x" does not exist'), WrongDatabase, "refuses us"),
        (OperationalError("password authentication failed for user"), WrongDatabase, "refuses us"),
        (OperationalError("received invalid response to SSL negotiation: H"), WrongDatabase, "is not PostgreSQL"),
    ],
)
def test_what_concerns_the_server_or_our_tables_is_one_sentence(original: Exception, kind: type, says: str) -> None:
    """Which server, what is wrong, what to do."""
    found = translate(error(original), where="postgresql://host/db")

    assert type(found) is kind
    assert isinstance(found, DatabaseError)
    assert says in str(found)
    assert "postgresql://host/db" in str(found)
    assert "\n" not in str(found)


def test_a_connection_that_sqlalchemy_gave_up_is_lost_whatever_the_driver_says() -> None:
    """Drivers differ in how they say it."""
    found = translate(error(ValueError("odd"), connection_invalidated=True), where="here")

    assert isinstance(found, DatabaseUnreachable)


def test_an_error_in_a_statement_or_a_value_passes_as_it_is() -> None:
    """A handler's own mistake is not the server's."""
    given = error(DataError("invalid input syntax", "22P02"))

    assert translate(given, where="here") is given
