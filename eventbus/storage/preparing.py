"""Prepared statements: hot ones are parsed and planned once for each connection.

    PREPARE ─▶ EXECUTE ─┬─ done
                        └─ forgotten (DISCARD ALL, a proxy's other backend), or its plan is outdated ─▶ run as it is, prepare anew

A plan that is kept must stay good while tables grow, but the planner sees only today's few rows, and would read a small table from
the first to the last long after it has stopped being small. So connections on which statements are prepared prefer indexes always.
They also keep the plan that holds for all values: PostgreSQL believes that it finds a better one for each, for it can leave
partitions out, as the kept one does when it runs; and plans each time for as long as it executes.
And they compile nothing: where no index fits, PostgreSQL below 18 adds ten billion to a plan's cost, and what costs so much is
compiled to machine code, which takes 20 to 200 ms for a table of ten rows.

Only in autocommit, where a statement that was refused has done nothing and may be repeated; in a transaction the refusal would end
the transaction. What is prepared is noted beside the connection, and goes with it.
"""

import contextlib
import re
from collections.abc import MutableMapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

import psycopg2
from psycopg2.errors import DivisionByZero, DuplicatePreparedStatement, FeatureNotSupported, InvalidSqlStatementName
from psycopg2.extensions import TRANSACTION_STATUS_INERROR
from psycopg2.extensions import cursor as DriverCursor  # noqa: N812 - a class, whatever its name

from eventbus.storage.driver import DriverConnection

#: So short are our statements that what is compiled for one never pays.
_PLAN_AHEAD = "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off"
_PLAN_AS_USUAL = "RESET enable_seqscan; RESET plan_cache_mode; RESET jit"
_KEY, _PLANS_AHEAD = "eventbus_prepared", "eventbus_plans_ahead"
_SAVEPOINT = "eventbus_ready"
#: For the rest of the transaction. Left to itself the server plans anew each time: it takes the partitions that a plan for all of
#: them names for dearer than planning, which is most of the time.
_KEEP_PLAN = "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off"
#: As the server says, unless the transaction says itself for what it waits.
_WAIT = "SELECT set_config('synchronous_commit', NULL, true) WHERE current_setting('synchronous_commit') = 'off'; "
_DO_NOT_WAIT = "SET LOCAL synchronous_commit = off"
_PARAMETER = re.compile(r"CAST\(%\((\w+)\)s AS ([a-z0-9\[\]]+)\)")


class Hot(str):
    """A statement that runs so often that preparing it pays.

    A parameter whose type the statement's place for it does not tell stands in ``CAST(:name AS type)``. Its plan is made once, on
    tables of any size, and kept: every table is named by a whole key, so that there is one good way only.
    """

    __slots__ = ()


def execute(cursor: DriverCursor, sql: str, parameters: dict[str, Any], *, known: MutableMapping[Any, Any]) -> None:
    """Run *sql*, prepared.

    Args:
        cursor: On a connection in autocommit.
        sql: A statement for psycopg2.
        known: Lives and dies with the connection; what is prepared on it is noted here.
    """
    prepare, run, name = _commands(sql)
    names = known.setdefault(_KEY, set())
    if not known.get(_PLANS_AHEAD):
        cursor.execute(_PLAN_AHEAD)
        known[_PLANS_AHEAD] = True
    if name not in names:
        # Behind a proxy another client may have prepared it; it is the same, for its name is made from its text.
        _ignoring(DuplicatePreparedStatement, cursor, prepare)
        names.add(name)
    try:
        cursor.execute(run, parameters)
    except InvalidSqlStatementName:
        names.clear()
        known.pop(_PLANS_AHEAD, None)
        cursor.execute(sql, parameters)
    except FeatureNotSupported:  # its tables were changed so that it would answer otherwise
        names.discard(name)
        _ignoring(InvalidSqlStatementName, cursor, f"DEALLOCATE {name}")
        cursor.execute(sql, parameters)


def leave(cursor: DriverCursor, *, known: MutableMapping[Any, Any]) -> None:
    """Let a connection that goes to others plan as the server does by itself: their statements have no plans that are kept."""
    if known.pop(_PLANS_AHEAD, False):
        cursor.execute(_PLAN_AS_USUAL)


def make_ready(driver: Any, sql: str, *, known: MutableMapping[Any, Any]) -> None:
    """Prepare *sql* on *driver*, a connection without a transaction, so that `commit_ready` may run it in one."""
    prepare, _, name = _commands(sql)
    names = known.setdefault(_KEY, set())
    if name in names:
        return
    driver.autocommit = True
    try:
        with driver.cursor() as cursor:
            _ignoring(DuplicatePreparedStatement, cursor, prepare)
    finally:
        driver.autocommit = False
    names.add(name)


def commit_ready(
    driver: DriverConnection, sql: str, parameters: dict[str, Any], *, waits: bool, known: MutableMapping[Any, Any]
) -> bool:
    """Run *sql* as the last statement, commit, and begin the next transaction, whose commit does not wait, in one command.

    Args:
        waits: Whether the commit waits for the disk even if its transaction, too, was begun so.

    Returns:
        False if nothing of that was done, and the transaction is as it was, but that it may wait: `make_ready` has not prepared
        *sql*, or its plan is gone, or it has refused by dividing by zero.

    Raises:
        psycopg2.Error: Anything else, at the statement or at the COMMIT.
    """
    _, run, name = _commands(sql)
    names = known.get(_KEY, set())
    if name not in names:
        return False
    cursor = driver.cursor()
    # Before the savepoint: where the rest is refused it still holds.
    ahead = _WAIT if waits else ""
    try:
        cursor.execute(f"{ahead}SAVEPOINT {_SAVEPOINT}; {_KEEP_PLAN}; {run}; COMMIT; BEGIN; {_DO_NOT_WAIT}", parameters)
    except (DivisionByZero, InvalidSqlStatementName, FeatureNotSupported) as error:
        if driver.get_transaction_status() != TRANSACTION_STATUS_INERROR:
            raise  # by a trigger that was deferred to the COMMIT
        if not isinstance(error, DivisionByZero):
            names.clear()
        cursor.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        return False
    driver.note_spare()
    return True


def _ignoring(error: type[psycopg2.Error], cursor: DriverCursor, command: str) -> None:
    with contextlib.suppress(error):
        cursor.execute(command)


class _Numbered(dict[str, str]):
    """``$1``, ``$2`` and so on for names, in the order in which they are asked for."""

    def __missing__(self, name: str) -> str:
        number = self[name] = f"${len(self) + 1}"
        return number


@lru_cache(maxsize=256)
def _commands(sql: str) -> tuple[str, str, str]:
    """How to prepare *sql*, how to run it then, and the name that it has."""
    name = f"eventbus_{sha256(sql.encode()).hexdigest()[:16]}"
    numbers = _Numbered()
    body = sql % numbers
    # A value has to have its parameter's type. A text finds that by itself, in a tenth of the time; an array of texts does not.
    types = {key: type for key, type in _PARAMETER.findall(sql) if type.endswith("[]")}
    values = [f"CAST(%({key})s AS {types[key]})" if key in types else f"%({key})s" for key in numbers]
    return f"PREPARE {name} AS {body}", f"EXECUTE {name} ({', '.join(values)})", name
