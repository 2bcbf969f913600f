"""Keeping: a few connections in autocommit stay out of the pool between two uses, for its checkout costs as much as a statement.

    take ──────▶ one that is kept and still good, else one of the pool's
    give back ─▶ kept, while there are few, else the pool's again; dropped, if it was interrupted in mid-statement

Autocommit leaves nothing open, so what is kept is of use at any time.
"""

import os
import select
import time
from typing import Any

import psycopg2
import sqlalchemy
from sqlalchemy.exc import DisconnectionError

from eventbus.storage.connection import Direct, wrapped

#: In what SQLAlchemy keeps beside a connection: when it was made, and what tells whether its socket can be read.
_MADE_AT, _POLLER = "eventbus_made_at", "eventbus_poller"


class Keeping:
    """Connections in autocommit, the last used first. Safe to share between threads, and after a fork."""

    def __init__(self, engine: sqlalchemy.Engine, *, schema: str, prepares: bool, at_most: int) -> None:
        self._engine = engine
        self._schema = schema
        self._prepares = prepares
        self._at_most = at_most
        self._kept: list[Direct] = []
        self._inherited: list[Direct] = []
        self._lost_at = 0.0
        sqlalchemy.event.listen(engine, "connect", _note)
        sqlalchemy.event.listen(engine, "checkout", self._refuse_stale)
        sqlalchemy.event.listen(engine, "checkin", _reset)
        os.register_at_fork(after_in_child=self._after_fork)

    def take(self) -> Direct:
        """A connection that nobody else uses.

        Raises:
            DBAPIError: The server cannot be reached.
        """
        while True:
            try:
                direct = self._kept.pop()
            except IndexError:
                return self._from_pool()
            if not self._is_stale(direct.driver, direct.info):
                return direct
            direct.drop()

    def give_back(self, direct: Direct) -> None:
        """Let others use *direct*."""
        if len(self._kept) < self._at_most and direct.is_idle:
            self._kept.append(direct)
        else:
            direct.give_back()

    def distrust(self) -> None:
        """Use none again that was made before now: where a network has gone silent, each would cost its whole time limit."""
        self._lost_at = time.monotonic()

    def release(self) -> None:
        """Keep nothing; what was kept is the pool's again."""
        while self._kept:
            self._kept.pop().give_back()

    def _from_pool(self) -> Direct:
        try:
            pooled = self._engine.raw_connection()
        except psycopg2.Error as error:
            raise wrapped(error) from error
        return Direct(pooled, schema=self._schema, prepares=self._prepares)

    def _refuse_stale(self, dbapi_connection: Any, record: Any, _proxy: Any) -> None:
        # In autocommit it was not given back but collected, as after an interrupt, and is not what a session expects.
        if dbapi_connection.autocommit or dbapi_connection.is_changed or self._is_stale(dbapi_connection, record.info):
            raise DisconnectionError

    def _is_stale(self, driver: Any, info: Any) -> bool:
        """Whether the server has closed it, so that its idle socket is readable; or it is not trusted. Costs no round trip."""
        return bool(driver.closed or info[_MADE_AT] < self._lost_at or info[_POLLER].poll(0))

    def _after_fork(self) -> None:
        # Not even given back: what is done to them would be done to the parent's.
        self._inherited, self._kept = self._kept, []


def _note(dbapi_connection: Any, record: Any) -> None:
    poller = select.poll()
    poller.register(dbapi_connection.fileno(), select.POLLIN | select.POLLERR | select.POLLHUP)
    record.info[_MADE_AT], record.info[_POLLER] = time.monotonic(), poller


def _reset(dbapi_connection: Any, _record: Any) -> None:
    """Undo what SQLAlchemy leaves behind, or knows nothing of: a handler may have asked the driver itself."""
    if dbapi_connection is not None and not dbapi_connection.closed and not dbapi_connection.begins_as_usual:
        dbapi_connection.begin_as_usual()
