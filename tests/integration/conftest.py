"""Fixtures of the in-process tests: a bus on real servers, and what looks behind it."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from celery import Celery

from eventbus import EventBus
from eventbus.cli import main
from eventbus.lifecycle.registration import register
from eventbus.storage.database import Database
from tests.support.buses import close_bus
from tests.support.fault_proxy import FaultProxy
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns

MakeBus = Callable[..., EventBus]
MakeWorker = Callable[..., SingleRuns]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def make_bus(database_url: str, broker_url: str, prefix: str) -> Iterator[MakeBus]:
    """A function that makes a bus of a codebase of its own, on the test's database; settings may be given by name."""
    made: list[EventBus] = []

    def make(**settings: Any) -> EventBus:
        given = {"database_url": database_url, "broker_url": broker_url, "prefix": prefix, **settings}
        bus = EventBus(Celery("test", set_as_current=False), **given)
        made.append(bus)
        return bus

    yield make
    for bus in made:
        close_bus(bus)


@pytest.fixture
def bus(make_bus: MakeBus) -> EventBus:
    """A bus without any subscription."""
    return make_bus()


@pytest.fixture
def database(bus: EventBus) -> Database:
    """The database of the bus."""
    return bus.database


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    """The test's database, behind the back of the bus."""
    found = Rows(database_url)
    yield found
    found.close()


@pytest.fixture
def proxy(database_url: str) -> Iterator[FaultProxy]:
    """A proxy before the test's database; it can cut connections and hold answers back."""
    with FaultProxy(database_url) as started:
        yield started


@pytest.fixture
def redis_client(broker_url: str) -> Iterator["redis.Redis[bytes]"]:
    """The shared broker."""
    with redis.Redis.from_url(broker_url) as client:
        yield client


@pytest.fixture
def messages(redis_client: "redis.Redis[bytes]", prefix: str) -> Callable[[str], list[dict[str, Any]]]:
    """A function that returns what waits in a group's queue, oldest first."""

    def read(group: str) -> list[dict[str, Any]]:
        return [json.loads(text) for text in reversed(redis_client.lrange(f"{prefix}.{group}", 0, -1))]

    return read


@pytest.fixture
def worker(bus: EventBus) -> MakeWorker:
    """A function that registers the subscriptions of a bus and returns what its worker would execute with."""

    def make(of: EventBus = bus, *, name: str = "worker-1", lease: timedelta = timedelta(seconds=30)) -> SingleRuns:
        known = register(of.database, of.subscriptions, settings=of.settings)
        return SingleRuns(database=of.database, known=known, reading=of.reading, lease=lease, worker=name)

    return make


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs `eventbus ARGUMENTS` in this process, which saves the time of the imports."""

    def call(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(arguments, ended.value.code, captured.out, captured.err)

    return call
