"""The systems that are compared: how their workers start, and in which respects the comparison is not even.

Each gets two processes for its handlers, one for each core of the machine that the numbers are from: where its own default is
another number, that is said on its command line.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.orders import GROUPS
from benchmarks.processes import BIN, ROOT

Commands = list[list[str]]
_PYTHON = [sys.executable, "-m"]
_MODULE = "benchmarks.systems."
_QUEUES = ",".join(GROUPS)
_NODE = str(ROOT / "benchmarks/systems/node_bus.js")
_COUNT = "SELECT count(*) FROM delivery WHERE state = 'done'"
_FINISHED = "SELECT finished_at FROM delivery WHERE state = 'done'"
_BUS_QUEUES = ",".join(f"eventbus.{group}" for group in GROUPS)
#: Their tables make no claims, count no attempts and find nothing again: see benchmarks.ledger.
_LEDGER_BIAS = "does not validate; keeps no claim, lease or count of attempts; "


@dataclass(frozen=True, kw_only=True)
class System:
    """One system."""

    key: str
    title: str
    #: In which respects it is favoured or disfavoured here, in words.
    bias: str
    #: Its module in benchmarks.systems; none for what is not written in Python.
    module: str | None = None
    workers: Callable[[], Commands] | None = None
    publisher: Sequence[str] = ()
    #: The module that makes its tables, if it does not do so itself.
    prepared_by: str | None = None
    #: SQL: how many deliveries are done, and when each was.
    count: str = _COUNT
    finished: str = _FINISHED
    #: SQL: what to empty between two measurements.
    tables: str = "event, delivery"
    #: Distributions whose versions are reported.
    packages: tuple[str, ...] = ()

    def publisher_command(self) -> list[str]:
        """How its publisher is started."""
        return list(self.publisher) or publishing_command(self.module or "")


def publishing_command(module: str) -> list[str]:
    """How the publisher of a module of benchmarks.systems is started."""
    return [*_PYTHON, "benchmarks.publishing", module]


def _celery(module: str, queues: str, *arguments: str) -> list[str]:
    return [*_PYTHON, "celery", "-A", f"{_MODULE}{module}", "worker", "-Q", queues, *arguments]


def _bus_worker(module: str) -> Commands:
    # As in the README, with the queues of all groups. Nothing else may stand here: a test compares the two.
    return [_celery(module, _BUS_QUEUES)]


_EVENTBUS = {
    "count": "SELECT count(*) FROM eventbus.delivery WHERE state = 'done'",
    "finished": "SELECT finished_at FROM eventbus.delivery WHERE state = 'done'",
    "tables": "eventbus.event_log, eventbus.delivery",
    "packages": ("eventbus", "celery", "kombu", "redis", "SQLAlchemy", "psycopg2-binary"),
}

SYSTEMS = {
    system.key: system
    for system in (
        System(
            key="eventbus",
            title="eventbus",
            bias="validates each payload, claims under leases, counts attempts; one message may stand for many deliveries",
            module="eventbus",
            workers=lambda: _bus_worker("eventbus"),
            **_EVENTBUS,  # type: ignore[arg-type]
        ),
        System(
            key="celery",
            title="Celery",
            bias=_LEDGER_BIAS + "all its defaults, messages acknowledged before they run",
            module="celery_plain",
            workers=lambda: [_celery("celery_plain", _QUEUES)],
            packages=("celery",),
        ),
        System(
            key="celery_tuned",
            title="Celery, tuned",
            bias=_LEDGER_BIAS + "a killed worker loses up to 50 messages that nothing brings back",
            module="celery_tuned",
            workers=lambda: [
                _celery(
                    "celery_tuned",
                    _QUEUES,
                    "--pool",
                    "solo",
                    "-n",
                    f"solo{number}@%h",
                    "--without-gossip",
                    "--without-mingle",
                )
                for number in range(2)
            ],
            packages=("celery",),
        ),
        System(
            key="dramatiq",
            title="dramatiq",
            bias=_LEDGER_BIAS + "16 threads share the two processes",
            module="dramatiq_bus",
            workers=lambda: [[str(BIN / "dramatiq"), f"{_MODULE}dramatiq_bus", "--processes", "2"]],
            packages=("dramatiq",),
        ),
        System(
            key="taskiq",
            title="taskiq",
            bias=_LEDGER_BIAS + "handlers are asynchronous: up to 100 at once share a process",
            module="taskiq_bus",
            workers=lambda: [[str(BIN / "taskiq"), "worker", f"{_MODULE}taskiq_bus:broker", "--log-level", "WARNING"]],
            packages=("taskiq", "taskiq-redis"),
        ),
        System(
            key="faststream",
            title="FastStream",
            bias=_LEDGER_BIAS + "one message serves all groups, which read one stream",
            module="faststream_bus",
            workers=lambda: [[str(BIN / "faststream"), "run", f"{_MODULE}faststream_bus:app"] for _ in range(2)],
            packages=("faststream",),
        ),
        System(
            key="procrastinate",
            title="procrastinate",
            bias="does not validate; keeps jobs in PostgreSQL itself; 10 asynchronous handlers at once in each process",
            module="procrastinate_bus",
            workers=lambda: [
                [
                    str(BIN / "procrastinate"),
                    "--app",
                    f"{_MODULE}procrastinate_bus.app",
                    "worker",
                    "--concurrency",
                    "10",
                ]
                for _ in range(2)
            ],
            count="SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'",
            finished="SELECT at FROM procrastinate_events WHERE type = 'succeeded'",
            tables="event, procrastinate_jobs, procrastinate_events",
            packages=("procrastinate",),
        ),
        System(
            key="huey",
            title="huey",
            bias=_LEDGER_BIAS + "a message is gone when it is popped",
            module="huey_bus",
            workers=lambda: [
                [*_PYTHON, "huey.bin.huey_consumer", f"{_MODULE}huey_bus.huey", "-w", "2", "-k", "process", "-q"]
            ],
            packages=("huey",),
        ),
        System(
            key="rq",
            title="rq",
            bias=_LEDGER_BIAS + "forks for each job, as its default worker does",
            module="rq_bus",
            workers=lambda: [[str(BIN / "rq"), "worker-pool", "-n", "2", "-q", *GROUPS, "-u", "$BENCH_BROKER_URL"]],
            packages=("rq",),
        ),
        System(
            key="node",
            title="Node, BLPOP",
            bias=_LEDGER_BIAS + "a message is gone when it is popped; a process for each group, three in all",
            publisher=("node", _NODE),
            prepared_by="floor",
            workers=lambda: [["node", _NODE, group] for group in GROUPS],
        ),
        System(
            key="floor",
            title="the insert of the hand-made tables alone",
            bias="the prepared statement by the bare driver; nobody is told of the event",
            module="floor",
        ),
        System(
            key="statement",
            title="the statement of publish() alone",
            bias="the same statement to the same tables, prepared, by the bare driver; neither checked nor announced",
            module="statement",
            **_EVENTBUS,  # type: ignore[arg-type]
        ),
        System(
            key="eventbus_session",
            title="eventbus, handlers with a session",
            bias="",
            module="eventbus_session",
            workers=lambda: _bus_worker("eventbus_session"),
            **_EVENTBUS,  # type: ignore[arg-type]
        ),
        System(
            key="eventbus_crowded",
            title="eventbus, 1,000 subscriptions that do not match",
            bias="",
            module="eventbus_crowded",
            **_EVENTBUS,  # type: ignore[arg-type]
        ),
    )
}
#: Variants of eventbus that stand for one measure alone.
VARIANTS = frozenset({"eventbus_crowded", "eventbus_session", "statement"})
