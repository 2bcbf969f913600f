"""The services of docker-compose.yml, each by its own command: without Docker, but for real.

redis ─▶ migrate ─▶ inventory, notification, analytics, flower, console ─▶ publisher ─▶ what the services did

PostgreSQL is the suite's: its image has no command of ours. Everything else is run as the file says, only elsewhere.
"""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import redis
import sqlalchemy
from redis.backoff import NoBackoff
from redis.retry import Retry

from eventbus.embedded import Servers
from eventbus.embedded.accounts import reachable, server_account
from eventbus.embedded.binaries import find_valkey
from eventbus.embedded.databases import create_database, drop_database
from eventbus.embedded.directories import ServerDirectory
from eventbus.embedded.processes import Command, GuardedProcess, log_tail
from eventbus.embedded.server import free_port
from tests.support import wait_until
from tests.support.compose import parsed, variables_in, words
from tests.support.flower import status
from tests.support.workers import READY, ROOT

SECONDS = 60
ORDERS = 10
GROUPS = ("inventory", "notification", "analytics")


@dataclass
class Composition:
    """The services of the file, run on this machine."""

    services: dict[str, Any]
    #: Of each service: what the file gives it, with the addresses of this machine.
    environments: dict[str, dict[str, str]]
    database_url: str
    folder: Path
    flower_port: int
    console_port: int
    #: By the services that have ended.
    printed: dict[str, str] = field(default_factory=dict)

    def argv(self, name: str) -> list[str]:
        """The command of a service."""
        return [*words(self.services[name]["command"])]

    def log(self, name: str) -> Path:
        """Where a service writes."""
        return self.folder / f"{name}.log"

    def start(self, name: str) -> GuardedProcess:
        """Start a service that stays."""
        here = {
            "--port=5555": f"--port={self.flower_port}",
            "--port=8321": f"--port={self.console_port}",
            "/tmp/console-users": self.environments[name].get("EVENTBUS_CONSOLE_USERS", ""),
        }
        argv = self.argv(name)
        for there, instead in here.items():
            argv = [item.replace(there, instead) for item in argv]
        return GuardedProcess(
            Command(
                argv=argv,
                log_path=self.log(name),
                folder=ROOT,
                environment=self.environments[name],
                stop_seconds=30,
            )
        )

    def is_ready(self, name: str, worker: GuardedProcess) -> bool:
        """Whether a worker consumes; fails if it has ended."""
        assert worker.is_running, log_tail(self.log(name))
        return READY in self.log(name).read_text()

    def run(self, name: str, argv: list[str] | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a service that ends, or *argv* as it would run there."""
        return subprocess.run(
            argv or self.argv(name),
            cwd=ROOT,
            env=self.environments[name],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def rows(self, statement: str) -> list[Any]:
        """What a query finds in the database."""
        engine = sqlalchemy.create_engine(self.database_url.replace("postgresql://", "postgresql+psycopg2://"))
        with engine.connect() as connection:
            found = connection.execute(sqlalchemy.text(statement)).scalars().all()
        engine.dispose()
        return list(found)


@pytest.fixture(scope="module")
def composition(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composition]:
    """All services, after the publisher has ended."""
    database = f"compose_{secrets.token_hex(4)}"
    url = create_database(servers.database_url, database)
    port = free_port()
    variables = {**variables_in(ROOT / ".env.sample"), "ORDERS": str(ORDERS), "ORDER_SECONDS": "0.05"}
    services = parsed((ROOT / "docker-compose.yml").read_text(), variables)["services"]
    folder = tmp_path_factory.mktemp("compose")
    found = Composition(services, {}, url, folder, free_port(), free_port())
    for name, service in services.items():
        found.environments[name] = environment(service.get("environment", {}), url, port)
    found.environments["console"]["EVENTBUS_CONSOLE_USERS"] = str(folder / "console-users")
    with ExitStack() as stack:
        stack.callback(drop_database, servers.database_url, database)
        directory = ServerDirectory()
        stack.callback(directory.remove)
        stack.callback(start_redis(found, port, directory).stop)
        migrated = found.run("migrate")
        assert migrated.returncode == 0, migrated.stderr
        found.printed["migrate"] = migrated.stdout
        # Ended all at once: a warm shutdown takes Celery some seconds.
        threads = stack.enter_context(ThreadPoolExecutor())
        running = {name: found.start(name) for name in (*GROUPS, "flower", "console")}
        for process in running.values():
            stack.callback(threads.submit, process.stop)
        for name in GROUPS:
            wait_until(lambda name=name: found.is_ready(name, running[name]), timeout=SECONDS)
        published = found.run("publisher")
        assert published.returncode == 0, published.stderr
        found.printed["publisher"] = published.stdout
        yield found


def environment(given: dict[str, str], database_url: str, redis_port: int) -> dict[str, str]:
    """What the file gives a service, with the addresses of this machine in place of those of a container's network."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("EVENTBUS_", "FLOWER_"))}
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    variables |= given
    if "EVENTBUS_DATABASE_URL" in given:
        variables["EVENTBUS_DATABASE_URL"] = database_url
        variables["EVENTBUS_BROKER_URL"] = given["EVENTBUS_BROKER_URL"].replace("redis:6379", f"127.0.0.1:{redis_port}")
    return variables


def start_redis(found: Composition, port: int, directory: ServerDirectory) -> GuardedProcess:
    """The broker, by its command in the file."""
    program, *options = found.argv("redis")
    assert program == "redis-server"
    options += ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory.data)]
    process = GuardedProcess(
        Command(
            argv=[str(reachable(find_valkey())), *options],
            log_path=found.log("redis"),
            environment=found.environments["redis"],
            account=server_account(),
        )
    )
    wait_until(lambda: "eady to accept" in log_tail(found.log("redis")), message=lambda: log_tail(found.log("redis")))
    return process


def test_redis_keeps_messages_and_drops_none(composition: Composition) -> None:
    """appendonly and noeviction, and nobody gets in without the password."""
    url = composition.environments["publisher"]["EVENTBUS_BROKER_URL"]

    stranger = redis.Redis(host="127.0.0.1", port=urlsplit(url).port or 0, retry=Retry(NoBackoff(), 0))

    with redis.Redis.from_url(url) as client:
        settings = client.config_get("appendonly", "maxmemory-policy")
    with stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()

    assert settings == {"appendonly": "yes", "maxmemory-policy": "noeviction"}


def test_migrate_makes_tables_and_subscribes_all_groups(composition: Composition) -> None:
    """Before anything is published, so that no group misses the first order."""
    assert "upgraded from nothing" in composition.printed["migrate"]
    assert "3 subscriptions of 3 groups are in PostgreSQL." in composition.printed["migrate"]
    assert set(composition.rows("SELECT DISTINCT group_name FROM eventbus.subscription")) == set(GROUPS)


def test_the_services_handle_what_the_publisher_publishes(composition: Composition) -> None:
    """Each order once, by each group; the one that cannot be confirmed becomes a dead letter; the publisher has ended."""
    events = composition.rows("SELECT CAST(id AS text) FROM eventbus.event_log ORDER BY id")
    assert [line.split()[0] for line in composition.printed["publisher"].splitlines()] == events
    assert len(events) == ORDERS
    for table, count in (("reservation", ORDERS), ("sale", ORDERS), ("email", ORDERS - 1)):
        handled = f"SELECT CAST(event_id AS text) FROM sample.{table} ORDER BY event_id"
        wait_until(lambda handled=handled, count=count: composition.rows(handled) == events[:count], timeout=SECONDS)

    letters = "SELECT group_name FROM eventbus.dead_letter WHERE status = 'open'"
    wait_until(lambda: composition.rows(letters) == ["notification"], timeout=SECONDS)


def test_flower_asks_for_the_password(composition: Composition) -> None:
    """And its health check, which has none, succeeds."""
    url = f"http://127.0.0.1:{composition.flower_port}"
    check = words(composition.services["flower"]["healthcheck"]["test"])

    wait_until(
        lambda: status(f"{url}/healthcheck") == 200,
        timeout=SECONDS,
        message=lambda: log_tail(composition.log("flower")),
    )

    credentials = composition.environments["flower"]["FLOWER_BASIC_AUTH"]
    assert (status(url), status(url, credentials=credentials)) == (401, 200)
    checked = composition.run("flower", [item.replace(":5555", f":{composition.flower_port}") for item in check])
    assert checked.returncode == 0, checked.stderr


def test_the_console_asks_for_the_password(composition: Composition) -> None:
    """And lets the user of the file in; its health check, which has no password, succeeds."""
    url = f"http://127.0.0.1:{composition.console_port}"
    check = words(composition.services["console"]["healthcheck"]["test"])
    wait_until(
        lambda: status(f"{url}/login") == 200, timeout=SECONDS, message=lambda: log_tail(composition.log("console"))
    )

    with httpx2.Client(base_url=url, follow_redirects=True) as browser:
        asked = browser.get("/groups")
        token = re.search(r'name="token" value="([^"]*)"', asked.text)
        assert token
        password = composition.environments["console"]["CONSOLE_PASSWORD"]
        form = {"token": token[1], "next": "/groups", "name": "me", "password": password}
        shown = browser.post("/login", data=form)

    assert (asked.url.path, shown.url.path, ">inventory</a>" in shown.text) == ("/login", "/groups", True)
    checked = composition.run("console", [item.replace(":8321", f":{composition.console_port}") for item in check])
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", ["inventory", "publisher"])
def test_the_health_checks_succeed(composition: Composition, name: str) -> None:
    """As Docker would run them beside the service."""
    pytest.importorskip("eventbus.cli.health")
    check = words(composition.services[name]["healthcheck"]["test"])

    checked = composition.run(name, check)

    assert checked.returncode == 0, checked.stdout + checked.stderr
