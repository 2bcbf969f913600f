"""The driver: psycopg2's connection, on which one command may end a transaction and begin the next.

    commit ─┬─ COMMIT
            └─ what stands in for it, once: the last statement; COMMIT; BEGIN ─▶ spare ─┬─ whoever asks for a cursor takes it
                                                                                        └─ end_spare ─▶ ROLLBACK

psycopg2 sends a BEGIN of its own before the first statement, and cannot be told that there is none to send unless a transaction
is open. A spare one holds nothing, no snapshot, no number and no lock, but it may not stand behind code that takes its time: what
nobody has taken for a while is ended, and the first statement begins its own as ever.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extensions import connection as PsycopgConnection  # noqa: N812 - a class, whatever its name


def _set_outside(name: str) -> Any:
    """The property *name* of the driver's, which cannot be set in a transaction: a spare one is none."""
    real = getattr(PsycopgConnection, name)

    def change(self: "DriverConnection", value: Any) -> None:
        self.end_spare()
        real.__set__(self, value)

    return property(real.__get__, change)


class DriverConnection(PsycopgConnection):
    """One connection. Two threads may meet here only in `end_spare`."""

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
    def is_as_new(self) -> bool:
        """Whether no transaction is open, or a spare one, and transactions begin as they do by themselves."""
        if self.closed or self.autocommit:
            return False
        if self._spare_since is None and self.get_transaction_status() != TRANSACTION_STATUS_IDLE:
            return False
        return self.isolation_level is None and self.readonly is None and self.deferrable is None

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
                self._spare_since = None
                # If its connection is lost, whoever uses it next will hear of that.
                with contextlib.suppress(psycopg2.Error):
                    super().rollback()

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        """A cursor, as psycopg2 makes it."""
        self._take()
        return super().cursor(*arguments, **options)

    def lobject(self, *arguments: Any, **options: Any) -> Any:
        """A large object, as psycopg2 opens it."""
        self._take()
        return super().lobject(*arguments, **options)

    def set_session(self, *arguments: Any, **options: Any) -> None:
        """Change how transactions begin."""
        self.end_spare()
        super().set_session(*arguments, **options)

    def commit(self) -> None:
        """Commit, by COMMIT or by what stands in for it."""
        instead, self.instead = self.instead, None
        if instead is None:
            super().commit()
        else:
            instead()

    def rollback(self) -> None:
        """Roll back, a spare transaction as well."""
        self._take()
        super().rollback()

    def _take(self) -> None:
        if self._spare_since is not None:
            # Whoever ends it meanwhile has ended it when this returns.
            with self._lock:
                self._spare_since = None
