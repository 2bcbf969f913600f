"""A stage of its own for each module of end-to-end tests: workers that start once serve all tests of the module."""

import secrets
from collections.abc import Iterator
from contextlib import closing

import pytest

from eventbus.embedded import Servers
from eventbus.embedded.databases import create_database, drop_database
from tests.e2e.stage import Stage


@pytest.fixture(scope="module")
def stage(servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A database and a prefix of the module's own, without workers yet."""
    yield from make_stage(servers, template_database, tmp_path_factory)


@pytest.fixture
def empty_stage(servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage of the test's own, for tests that must not meet another test's workers and events."""
    yield from make_stage(servers, template_database, tmp_path_factory)


def make_stage(servers: Servers, template: str, folders: pytest.TempPathFactory, **settings: str) -> Iterator[Stage]:
    """A stage, with further EVENTBUS_* settings for its workers; all of it is gone afterwards."""
    name = f"e2e-{secrets.token_hex(4)}"
    database = name.replace("-", "_")
    environment = {
        "EVENTBUS_DATABASE_URL": create_database(servers.database_url, database, template=template),
        "EVENTBUS_BROKER_URL": servers.broker_url,
        "EVENTBUS_PREFIX": name,
        **settings,
    }
    try:
        with closing(Stage(folders.mktemp(name), environment)) as stage:
            yield stage
    finally:
        drop_database(servers.database_url, database)
