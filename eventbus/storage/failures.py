"""Failures: what PostgreSQL refused, as an error of our tree.

Only what concerns the server or our tables is translated; an error in the caller's own data or statement passes as it is.
"""

from sqlalchemy.exc import DBAPIError

from eventbus.errors import DatabaseBusy, DatabaseUnreachable, EventBusError, NotMigrated, NotPermitted, WrongDatabase
from eventbus.storage.revision import HEAD

_BUSY = {"55P03": "a lock was not granted in time", "57014": "the statement took longer than its limit"}
_REPEATABLE = {"40001": "another transaction changed the same rows", "40P01": "it was the victim of a deadlock"}
#: Our schema or a table of it does not exist.
_MISSING = ("3F000", "42P01", "42883")
_FORBIDDEN = "42501"
_GONE = ("57P01", "57P02", "57P03", "08000", "08003", "08006", "08001", "08004", "08P01")
_REFUSED = {
    "53300": "has no connection left",
    "53100": "has a full disk",
    "53200": "is out of memory",
    "25006": "is read-only",
}


def translate(error: DBAPIError, *, where: str) -> Exception:
    """The error to raise for *error*: one of our tree, or itself when it is not about the server."""
    # It is the cause of what is raised, and logged with it, where nobody is to read what is written.
    error.hide_parameters = True
    code = sqlstate(error)
    if code in _MISSING:
        return NotMigrated(None, HEAD, where)
    if code == _FORBIDDEN:
        return NotPermitted(where, str(error.orig).splitlines()[0])
    if code in _REFUSED:
        return DatabaseUnreachable(f"PostgreSQL at {where} {_REFUSED[code]}; nothing was recorded.")
    reason = _BUSY.get(code) or _REPEATABLE.get(code)
    if reason:
        return DatabaseBusy(f"PostgreSQL at {where} could not do it now: {reason}; nothing was recorded, try again.")
    if is_disconnect(error):
        return _unreachable(error, where)
    return error


def sqlstate(error: DBAPIError) -> str:
    """The SQLSTATE of *error*, or an empty text when the server never answered."""
    return str(getattr(error.orig, "pgcode", None) or getattr(error.orig, "sqlstate", None) or "")


def is_disconnect(error: DBAPIError) -> bool:
    """Whether the connection was lost, or never made."""
    code = sqlstate(error)
    return (
        error.connection_invalidated or code in _GONE or (not code and type(error.orig).__name__ == "OperationalError")
    )


def was_lost(error: BaseException) -> bool:
    """Whether *error*, of our tree, stands for a connection that was lost, rather than for an answer of the server."""
    return isinstance(error.__cause__, DBAPIError) and is_disconnect(error.__cause__)


def _unreachable(error: DBAPIError, where: str) -> EventBusError:
    lines = [line.strip() for line in str(error.orig).splitlines() if line.strip()]
    reason = lines[0] if lines else "the connection was lost"
    lowered = " ".join(lines).lower()
    if "does not exist" in lowered or "authentication failed" in lowered or "no pg_hba.conf entry" in lowered:
        return WrongDatabase(f"PostgreSQL at {where} refuses us: {reason}; check EVENTBUS_DATABASE_URL.")
    if "invalid response to ssl negotiation" in lowered or "expected authentication request" in lowered:
        return WrongDatabase(f"what answers at {where} is not PostgreSQL ({reason}); check EVENTBUS_DATABASE_URL.")
    if "timeout expired" in lowered:
        # Redis, for one, waits for a line that libpq never sends.
        reason = "no answer in time, so it is busy, or what listens there is not PostgreSQL"
    return DatabaseUnreachable(
        f"PostgreSQL at {where} cannot be reached: {reason}; start it or check EVENTBUS_DATABASE_URL."
    )
