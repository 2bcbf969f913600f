"""The driver: psycopg2's connection, on which one command may end a transaction and begin the next.

    commit ─┬─ COMMIT
            └─ what stands in for it, once: the last statement; COMMIT; BEGIN ─▶ spare ─┬─ whoever asks for a cursor takes it
                                                                                        └─ end_spare ─▶ ROLLBACK

While a connection is lent to a handler, only what stands in for COMMIT ends its transaction: whoever else tries is refused, by
SQLAlchemy or past it. Listeners of SQLAlchemy's would see less, and cost as much time as the handler's own statement.

psycopg2 sends a BEGIN of its own before the first statement, and cannot be told that there is none to send unless a transaction
is open. A spare one holds nothing, no snapshot, no number and no lock, but it may not stand behind code that takes its time: what
nobody has taken for a while is ended, and the first statement begins its own as ever.
"""

import contextlib
import functools
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INERROR
from psycopg2.extensions import connection as PsycopgConnection  # noqa: N812 - a class, whatever its name
from psycopg2.extensions import cursor as PsycopgCursor  # noqa: N812 - a class, whatever its name
from psycopg2.sql import Composable

from eventbus.errors import HandlerError
from eventbus.storage.handler_statements import reach_of


def _set_outside(name: str) -> Any:
    """The property *name* of the driver's, which cannot be set in a transaction: a spare one is none."""
    real = getattr(PsycopgConnection, name)

    def change(self: "DriverConnection", value: Any) -> None:
        if name == "autocommit" and value:
            self._refuse_if_lent("let each statement commit by itself")
        self.end_spare()
        real.__set__(self, value)

    return property(real.__get__, change)


class DriverConnection(PsycopgConnection):
    """One connection. Two threads may meet here only in `end_spare`."""

    #: Whether it is lent to a handler.
    is_lent = False
    #: Whether a handler has set something on it that outlives its transaction.
    is_changed = False
    #: Done by the next `commit` in its place.
    instead: Callable[[], None] | None = None

    autocommit = _set_outside("autocommit")
    deferrable = _set_outside("deferrable")
    isolation_level = _set_outside("isolation_level")
    readonly = _set_outside("readonly")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._lock = threading.Lock()
        self._spare_since: float | None = None
        super().__init__(*arguments, **options)

    @property
    def begins_as_usual(self) -> bool:
        """Whether transactions begin as they do by themselves, which whoever has it next expects."""
        return self.isolation_level is None and self.readonly is None and self.deferrable is None

    @property
    def is_as_new(self) -> bool:
        """Whether it is open, without a transaction or with a spare one, and begins as usual."""
        if self.closed or self.autocommit or not self.begins_as_usual:
            return False
        return self._spare_since is not None or self.get_transaction_status() == TRANSACTION_STATUS_IDLE

    @property
    def has_failed(self) -> bool:
        """Whether an error has ended its transaction, but for the rollback."""
        return self.get_transaction_status() == TRANSACTION_STATUS_INERROR

    def begin_as_usual(self) -> None:
        """Let transactions begin as they do by themselves, whoever has it had them begin otherwise."""
        self.isolation_level = self.readonly = self.deferrable = None

    def note_spare(self) -> None:
        """Note that the transaction that is open was just begun, and is anybody's."""
        self._spare_since = time.monotonic()

    def end_spare(self, *, after_seconds: float = 0.0) -> None:
        """End the transaction that nobody has taken, for *after_seconds* at least; from any thread."""
        if self._spare_since is None:
            return
        with self._lock:
            since = self._spare_since
            if since is not None and time.monotonic() - since >= after_seconds:
                # If its connection is lost, whoever uses it next will hear of that.
                with contextlib.suppress(psycopg2.Error):
                    super().rollback()
                # Not sooner: whoever wants to write asks for this, and would write into what is rolled back.
                self._spare_since = None

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        """A cursor, as psycopg2 makes it; of one that is lent it ends no transaction."""
        self._take()
        if self.is_lent:
            usual: Any = self.cursor_factory
            self.is_changed |= bool(options.get("withhold") or any(arguments[3:]))
            options["cursor_factory"] = _refusing(options.get("cursor_factory") or usual or PsycopgCursor)
        return super().cursor(*arguments, **options)

    def lobject(self, *arguments: Any, **options: Any) -> Any:
        """A large object, as psycopg2 opens it."""
        self._take()
        return super().lobject(*arguments, **options)

    def set_session(self, *arguments: Any, **options: Any) -> None:
        """Change how transactions begin."""
        if options.get("autocommit") or any(arguments[3:]):
            self._refuse_if_lent("let each statement commit by itself")
        self.end_spare()
        super().set_session(*arguments, **options)

    def set_isolation_level(self, level: Any) -> None:
        """Change how transactions begin, or let there be none."""
        if level == ISOLATION_LEVEL_AUTOCOMMIT:
            self._refuse_if_lent("let each statement commit by itself")
        self._require_beginning("changed its isolation level")
        super().set_isolation_level(level)

    def set_client_encoding(self, encoding: str) -> None:
        """Change how texts are sent."""
        self._require_beginning("changed its encoding")
        self.is_changed |= self.is_lent
        super().set_client_encoding(encoding)

    def reset(self) -> None:
        """Roll back, and undo what was set."""
        self._refuse_if_lent("reset the connection")
        super().reset()

    def tpc_begin(self, xid: Any) -> None:
        """Begin a transaction of two phases."""
        self._refuse_if_lent("began a transaction of two phases")
        super().tpc_begin(xid)

    def commit(self) -> None:
        """Commit, by COMMIT or by what stands in for it.

        Raises:
            HandlerError: It is lent. It is closed: SQLAlchemy takes the transaction for ended, and would go on in it.
        """
        instead, self.instead = self.instead, None
        if instead is not None:
            instead()
        elif self.is_lent:
            self.close()
            raise HandlerError(
                "the handler committed the session that it was given: eventbus commits it together with the delivery, when "
                "the handler returns."
            )
        else:
            super().commit()

    def rollback(self) -> None:
        """Roll back, a spare transaction as well."""
        self._take()
        super().rollback()

    def _require_beginning(self, what: str) -> None:
        """Make sure that a handler has written nothing yet: psycopg2 would roll it back, without a word."""
        self.end_spare()
        if self.is_lent and self.get_transaction_status() != TRANSACTION_STATUS_IDLE:
            raise HandlerError(f"the handler {what} in the middle of a transaction: do so before the first statement.")

    def _refuse_if_lent(self, what: str) -> None:
        if self.is_lent:
            raise HandlerError(f"the handler {what}, but the session's transaction is eventbus's to begin and to end.")

    def _take(self) -> None:
        if self._spare_since is not None:
            # Whoever ends it meanwhile has ended it when this returns.
            with self._lock:
                self._spare_since = None


@functools.lru_cache(maxsize=16)
def _refusing(factory: Any) -> Any:
    """Cursors of *factory* that refuse to end a transaction."""

    class Refusing(factory):  # type: ignore[misc]
        def execute(self, query: Any, vars: Any = None) -> Any:
            _look_at(query, self)
            return super().execute(query, vars)

        def executemany(self, query: Any, vars_list: Any) -> Any:
            _look_at(query, self)
            return super().executemany(query, vars_list)

        def copy_expert(self, sql: Any, *arguments: Any, **options: Any) -> Any:
            _look_at(sql, self)
            return super().copy_expert(sql, *arguments, **options)

        def callproc(self, procname: Any, *arguments: Any) -> Any:
            _look_at(f"SELECT {procname}()", self)
            return super().callproc(procname, *arguments)

    return Refusing


def _look_at(query: Any, cursor: Any) -> None:
    """Refuse the end of the transaction; note what would reach whoever has the connection next."""
    said = _text_of(query, cursor)
    reach = reach_of(said)
    if reach.ends_transaction:
        raise HandlerError(
            f"the handler executed {said.strip()[:40]!r}, but the session's transaction is eventbus's to end."
        )
    if reach.changes_session:
        cursor.connection.is_changed = True


def _text_of(query: Any, cursor: Any) -> str:
    """What the driver would send for *query*; it takes more than texts."""
    if isinstance(query, Composable):
        return str(query.as_string(cursor))
    return query.decode(errors="replace") if isinstance(query, bytes) else str(query)
