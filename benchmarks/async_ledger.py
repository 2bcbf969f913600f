"""The ledger, as asynchronous code reaches it: through asyncpg, which prepares every statement."""

import json
from typing import Any

import asyncpg

from benchmarks import traces
from benchmarks.ledger import NUMBERED_DONE, NUMBERED_RECORD
from benchmarks.orders import GROUPS, TYPE, Order
from benchmarks.stage import current


class AsyncLedger:
    """A pool of connections, opened with the first statement."""

    def __init__(self, *, durable: bool) -> None:
        """Make a ledger; without *durable* a commit does not wait for the disk."""
        self._settings = {} if durable else {"synchronous_commit": "off"}
        self._pool: Any = None

    async def open(self) -> None:
        """Open the pool."""
        self._pool = await asyncpg.create_pool(
            current().database_url, min_size=1, max_size=10, server_settings=self._settings
        )

    async def record(self, order: Order) -> int:
        """Commit an event and its deliveries; its number."""
        return await self._pool.fetchval(NUMBERED_RECORD, TYPE, json.dumps(order), list(GROUPS))

    async def handle(self, event: int, group: str, order: Order) -> None:
        """Do what every handler does: nothing, and mark its delivery done."""
        traces.note(order)
        await self._pool.execute(NUMBERED_DONE, event, group)
