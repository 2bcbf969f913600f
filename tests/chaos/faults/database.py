"""A PostgreSQL that restarts, crashes, freezes or throws its clients out."""

import random

import psycopg2

from tests.chaos.faults.fault import Fault, pause
from tests.chaos.stage import Stage

_TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND random() < %s
"""


def restart(stage: Stage, chance: random.Random) -> None:
    """In good order: clients are disconnected."""
    del chance
    stage.postgres.restart()


def crash(stage: Stage, chance: random.Random) -> None:
    """Killed: what was committed asynchronously a moment ago may be forgotten."""
    stage.postgres.kill()
    try:
        pause(chance.uniform(0, 1))
    finally:
        stage.postgres.start()


def freeze(stage: Stage, chance: random.Random) -> None:
    """Nothing is answered; a lease may end meanwhile."""
    stage.postgres.freeze()
    try:
        pause(chance.uniform(0.5, 2.5))
    finally:
        stage.postgres.thaw()


def terminate(stage: Stage, chance: random.Random) -> None:
    """Some backends, or all, in whatever they are doing."""
    for _ in range(chance.randint(1, 4)):
        try:
            with stage.rows() as rows:
                rows.all(_TERMINATE, chance.choice([0.3, 1.0]))
        except psycopg2.OperationalError:
            stage.notes.append("backends terminated: PostgreSQL was away")
        pause(chance.uniform(0, 0.3))


FAULTS = (
    Fault(name="PostgreSQL restarted", strike=restart, place="database"),
    Fault(name="PostgreSQL killed", strike=crash, place="database"),
    Fault(name="PostgreSQL frozen", strike=freeze, place="database"),
    Fault(name="backends terminated", strike=terminate, place="database"),
)
