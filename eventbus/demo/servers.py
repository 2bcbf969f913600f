"""Servers: where the demonstration takes place, such that nothing it finds there is touched and nothing of it stays.

throwaway servers     ─▶ used as they are: they end with the demonstration
EVENTBUS_DATABASE_URL ─▶ a new database beside that one
EVENTBUS_BROKER_URL   ─▶ queues with a prefix of their own; on Redis all keys have it
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import redis
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError

from eventbus.demo.event_file import MAX_EVENT_BYTES
from eventbus.embedded import start_servers
from eventbus.errors import DatabaseError
from eventbus.settings import load_settings
from eventbus.storage.failures import translate
from eventbus.urls import without_password

#: Short, so that what a killed worker held comes back while one watches.
LEASE_SECONDS = 3


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the demonstration takes place."""

    #: A value for every setting of the bus, so that none is taken from the environment.
    settings: Mapping[str, Any]
    #: kombu's transport options, for celeryconfig and for the publisher.
    transport_options: Mapping[str, Any]
    #: What the servers are, for the reader.
    description: str

    @property
    def database_url(self) -> str:
        return str(self.settings["database_url"])

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The environment for processes that are to find this place, and none of the reader's."""
        ours = {f"EVENTBUS_{name.upper()}": str(value) for name, value in self.settings.items()}
        return {name: value for name, value in inherited.items() if not name.startswith("EVENTBUS_")} | ours


@contextmanager
def open_place(environment: Mapping[str, str]) -> Iterator[Place]:
    """Throwaway servers, or room of our own on those that EVENTBUS_* name.

    Raises:
        EventBusError: There is no server, or it cannot be used.
    """
    with start_servers(environment=environment) as servers, ExitStack() as stack:
        given = load_settings({"database_url": servers.database_url, "broker_url": servers.broker_url}, {})
        name = f"eventbus_demo_{secrets.token_hex(4)}"
        database_url, database = given.database_url, "a throwaway PostgreSQL"
        if servers.postgres is None:
            database_url = stack.enter_context(_own_database(given.database_url, name))
            database = f"the new database {name} beside {without_password(given.database_url)}"
        prefix, options, broker = "eventbus", dict[str, Any](), "a throwaway Valkey"
        if servers.valkey is None:
            prefix, options = name, stack.enter_context(_own_keys(given.broker_url, f"{name}:"))
            broker = f"the prefix {name} at {without_password(given.broker_url)}"
        yield Place(
            settings=_settings(database_url, given.broker_url, prefix),
            transport_options=options,
            description=f"{database}; {broker}",
        )


def _settings(database_url: str, broker_url: str, prefix: str) -> dict[str, Any]:
    return {
        "database_url": database_url,
        "broker_url": broker_url,
        "realtime": "off",
        "schema": "eventbus",
        "prefix": prefix,
        "max_event_bytes": MAX_EVENT_BYTES,
        "lease_seconds": LEASE_SECONDS,
        "strict_types": 0,
        "prepare": 1,
    }


@contextmanager
def _own_database(url: str, name: str) -> Iterator[str]:
    """The URL of a database beside the one at *url*, dropped at the end."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5})
    try:
        _execute(engine, f"CREATE DATABASE {name}", where=without_password(url))
        try:
            yield engine.url.set(database=name).render_as_string(hide_password=False)
        finally:
            _execute(engine, f"DROP DATABASE {name} WITH (FORCE)", where=without_password(url))
    finally:
        engine.dispose()


def _execute(engine: Engine, statement: str, *, where: str) -> None:
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
    except DBAPIError as error:
        reason = translate(error, where=where)
        if reason is error:
            first_line = str(error.orig).splitlines()[0]
            reason = DatabaseError(f"{where}: the demo makes a database of its own beside that one, but: {first_line}.")
        raise reason from error


@contextmanager
def _own_keys(url: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Transport options that begin all keys in Redis with *prefix*, so that they can be deleted at the end."""
    if urlsplit(url).scheme not in ("redis", "rediss"):
        yield {}
        return
    try:
        yield {"global_keyprefix": prefix}
    finally:
        with (
            suppress(redis.RedisError),
            redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client,
        ):
            for key in client.scan_iter(match=f"{prefix}*", count=1000):
                client.unlink(key)
