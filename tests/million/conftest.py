"""Fixtures: a database with a million events, filled once a run."""

import secrets
from collections.abc import Iterator

import pytest

from eventbus.embedded import Servers
from eventbus.embedded.databases import create_database, drop_database
from tests.support import million


@pytest.fixture(scope="session")
def million_database(servers: Servers, template_database: str) -> Iterator[str]:
    """The name of a database with a million events, see `tests.support.million`; copied or read, and changed by nobody."""
    name = f"eventbus_million_{secrets.token_hex(4)}"
    million.fill(create_database(servers.database_url, name, template=template_database))
    yield name
    drop_database(servers.database_url, name)


@pytest.fixture(scope="session")
def million_url(servers: Servers, million_database: str) -> str:
    """The URL of that database."""
    return f"{servers.database_url.rpartition('/')[0]}/{million_database}"
