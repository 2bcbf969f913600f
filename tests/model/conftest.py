"""A database with one group that is subscribed to everything, for the machine."""

from collections.abc import Iterator

import pytest

from eventbus.storage.database import Database
from tests.model.machine import StatementMachine
from tests.support.rows import Rows

_SUBSCRIBE = """
WITH made AS (INSERT INTO eventbus.consumer_group (name, queue) VALUES ('a', 'q') RETURNING name)
INSERT INTO eventbus.subscription (group_name, pattern, handler, policy) SELECT name, '#', 'handle', '{}' FROM made RETURNING id
"""


@pytest.fixture
def machine(database_url: str) -> Iterator[type[StatementMachine]]:
    """The machine, on a database of the test's own."""
    rows = Rows(database_url)
    database = Database(database_url.replace("postgresql://", "postgresql+psycopg2://"))

    class Machine(StatementMachine):
        pass

    Machine.rows, Machine.database, Machine.subscription = rows, database, rows.value(_SUBSCRIBE)
    yield Machine
    database.dispose()
    rows.close()
