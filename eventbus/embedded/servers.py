"""Both servers at once: what a demonstration or a test run needs, and nothing that stays behind."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from eventbus.embedded.postgres import EmbeddedPostgres
from eventbus.embedded.valkey import EmbeddedValkey


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Two reachable servers."""

    database_url: str
    broker_url: str
    #: None where a given URL takes the throwaway server's place.
    postgres: EmbeddedPostgres | None
    valkey: EmbeddedValkey | None


@contextmanager
def start_servers(
    *, durable: bool = True, persistent: bool = False, environment: Mapping[str, str] = os.environ
) -> Iterator[Servers]:
    """Start a throwaway PostgreSQL and a throwaway Valkey; at the end they and their data are gone.

    EVENTBUS_DATABASE_URL and EVENTBUS_BROKER_URL each take the place of one of them; a server named there is left as
    it is.

    Args:
        durable: See EmbeddedPostgres.
        persistent: See EmbeddedValkey.

    Raises:
        ServerBinaryNotFound: There is no server to start.
        ServerNotStarted: One ended, or did not answer in time. Neither is left running.
    """
    database_url = environment.get("EVENTBUS_DATABASE_URL")
    broker_url = environment.get("EVENTBUS_BROKER_URL")
    with ExitStack() as stack:
        postgres = None if database_url else stack.enter_context(EmbeddedPostgres(durable=durable))
        valkey = None if broker_url else stack.enter_context(EmbeddedValkey(persistent=persistent))
        yield Servers(
            database_url=postgres.url if postgres else database_url or "",
            broker_url=valkey.url if valkey else broker_url or "",
            postgres=postgres,
            valkey=valkey,
        )
