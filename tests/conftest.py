"""Fixtures: one PostgreSQL and one Valkey for the run, or for each of its processes; a database and a prefix for each test.

    servers ─▶ template database, migrated once ─▶ database_url, a copy for each test, emptied and used again
       └─────▶ broker_url, shared; prefix keeps the tests' queues apart
    postgres, valkey: private servers, for tests that break them

EVENTBUS_DATABASE_URL and EVENTBUS_BROKER_URL name other servers to test against; databases are made beside the named
one.
"""

import os
import secrets
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import coverage
import pytest
from sqlalchemy.engine import make_url

from eventbus.embedded import EmbeddedPostgres, EmbeddedValkey, Servers, start_servers
from eventbus.embedded.databases import create_database, drop_database
from eventbus.embedded.processes import log_tail
from eventbus.storage.migrations import upgrade
from tests.support import alone, requirements
from tests.support.database_pool import DatabasePool
from tests.support.workers import ROOT, WorkerProcess


def pytest_configure(config: pytest.Config) -> None:
    """Hear Ctrl-C, and let those whom tests start hear it: a shell's background job is born deaf, and so are its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # To be measured costs a process a third of its start, and tests start hundreds: only those of `start_worker` are.
    if "PYTEST_XDIST_WORKER" in os.environ:
        measuring = os.environ.pop(_MEASURING, None)
        config.stash[_measuring_key] = {_MEASURING: measuring} if measuring else {}


StartWorker = Callable[..., WorkerProcess]

#: Tests that compute a lot, nearly twice as long where coverage is measured, and leave no line to others of what must be covered.
UNMEASURED = (
    "console/",
    "house/",
    "integration/schemas/",
    "unit/schemas/",
    "unit/test_event.py",
    "unit/test_fingerprint.py",
)
#: The variable by which coverage measures the processes of a measured one, too.
_MEASURING = "COVERAGE_PROCESS_CONFIG"
_measuring_key = pytest.StashKey[dict[str, str]]()


@pytest.fixture(scope="module", autouse=True)
def unmeasured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Measure no coverage while a module of `UNMEASURED` runs."""
    measuring = coverage.Coverage.current()
    if measuring is None or not request.path.relative_to(ROOT / "tests").as_posix().startswith(UNMEASURED):
        yield
        return
    measuring.stop()
    yield
    measuring.start()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Both servers, shared by all tests that do not break them."""
    with start_servers(durable=False) as started:
        yield started


@pytest.fixture(scope="session")
def template_database(servers: Servers) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to."""
    name = f"eventbus_template_{secrets.token_hex(4)}"
    migrate(create_database(servers.database_url, name))
    yield name
    drop_database(servers.database_url, name)


@pytest.fixture(scope="session")
def database_pool(servers: Servers, template_database: str) -> Iterator[DatabasePool]:
    """Copies of the template, which tests use one after the other."""
    with closing(DatabasePool(servers.database_url, template_database)) as pool:
        yield pool


@pytest.fixture
def database_url(database_pool: DatabasePool) -> Iterator[str]:
    """The URL (`postgresql://…`) of a migrated database that is the test's alone."""
    name, url = database_pool.take()
    yield url
    database_pool.give_back(name)


@pytest.fixture
def empty_database_url(servers: Servers) -> Iterator[str]:
    """The URL of a database without any table, for tests of migrations."""
    name = f"eventbus_test_{secrets.token_hex(6)}"
    yield create_database(servers.database_url, name)
    drop_database(servers.database_url, name)


@pytest.fixture
def broker_url(servers: Servers) -> str:
    """The URL of the shared broker."""
    return servers.broker_url


@pytest.fixture
def prefix() -> str:
    """An EVENTBUS_PREFIX of the test's own, so that its queues are nobody else's."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
def environment(database_url: str, broker_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """EVENTBUS_* for the test's database, broker and prefix; also set in this process while the test runs."""
    variables = {
        "EVENTBUS_DATABASE_URL": database_url,
        "EVENTBUS_BROKER_URL": broker_url,
        "EVENTBUS_PREFIX": prefix,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    """A private PostgreSQL with a migrated database, to be killed, frozen and restarted."""
    with EmbeddedPostgres(durable=False) as server:
        migrate(server.url)
        yield server


@pytest.fixture
def valkey() -> Iterator[EmbeddedValkey]:
    """A private Valkey without persistence, to be killed, frozen and restarted."""
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture
def start_worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartWorker]:
    """A function that starts a worker: `start_worker(code=…, environment=…, …)`, see WorkerProcess; returns it ready.

    Unless told otherwise it gives the worker the `environment` of the test. All workers are ended after the test, and
    their logs shown if it failed. Their coverage is measured, for some lines run in a worker's children only.
    """
    workers: list[WorkerProcess] = []

    def start(*, wait: bool = True, name: str | None = None, **options: Any) -> WorkerProcess:
        if options.get("environment") is None:
            options["environment"] = request.getfixturevalue("environment")
        options["environment"] = {**options["environment"], **request.config.stash.get(_measuring_key, {})}
        worker = WorkerProcess(tmp_path / (name or f"worker{len(workers) + 1}"), **options)
        workers.append(worker)
        return worker.start(wait=wait)

    request.node.stash[_workers_key] = workers
    yield start
    for worker in workers:
        worker.reap()


def migrate(url: str) -> None:
    """Create the tables in a database."""
    upgrade(make_url(url).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False))


_workers_key = pytest.StashKey[list[WorkerProcess]]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test that measures time while no other runs; the waiting counts for no time limit."""
    with alone.room(item, _folder_of_the_run(item.config)):
        return (yield)


def _folder_of_the_run(config: pytest.Config) -> Path:
    own: Path = config._tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Hold back tests whose requirement is missing."""
    requirements.require(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of a failed test's workers."""
    report = yield
    if report.failed:
        for worker in item.stash.get(_workers_key, []):
            report.sections.append((f"log of {worker.folder.name}", log_tail(worker.log_path, lines=60)))
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Keep what one of several processes has measured: it is killed if it does not end in ten seconds."""
    measuring = coverage.Coverage.current()
    if measuring and "PYTEST_XDIST_WORKER" in os.environ:
        measuring.stop()
        measuring.save()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not run."""
    lines = requirements.closing_lines(terminalreporter.stats.get("skipped", []))
    for line in lines:
        terminalreporter.write_line(line, yellow=True)
    requirements.write_closing_lines(lines)


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads that are switched as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
