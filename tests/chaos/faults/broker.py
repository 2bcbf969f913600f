"""A broker that forgets, dies, freezes or is full."""

import random

from tests.chaos.faults.fault import Fault, pause
from tests.chaos.stage import Stage
from tests.support.waiting import wait_until


def flush(stage: Stage, chance: random.Random) -> None:
    """FLUSHALL: queues, and what workers hold unacknowledged."""
    del chance
    with stage.broker() as broker:
        broker.flushall()


def kill_forgetful(stage: Stage, chance: random.Random) -> None:
    """Killed, and empty when it is back."""
    _kill(stage, chance, persistent=False)


def kill_persistent(stage: Stage, chance: random.Random) -> None:
    """Killed, and back with what its append-only file holds: wake-ups that were taken may be there again."""
    with stage.broker() as broker:
        broker.config_set("appendonly", "yes")
        wait_until(lambda: broker.info("persistence")["aof_rewrite_in_progress"] == 0, timeout=10)
    pause(chance.uniform(0, 0.5))
    _kill(stage, chance, persistent=True)


def freeze(stage: Stage, chance: random.Random) -> None:
    """Connections are accepted, and nothing is answered."""
    stage.valkey.freeze()
    try:
        pause(chance.uniform(0.5, 3))
    finally:
        stage.valkey.thaw()


def fill(stage: Stage, chance: random.Random) -> None:
    """No memory: every write is refused."""
    with stage.broker() as broker:
        broker.config_set("maxmemory", "1")
        try:
            pause(chance.uniform(0.5, 2))
        finally:
            broker.config_set("maxmemory", "0")


def _kill(stage: Stage, chance: random.Random, *, persistent: bool) -> None:
    stage.valkey.kill()
    try:
        pause(chance.uniform(0, 1.5))
    finally:
        stage.valkey._persistent = persistent  # decided anew for each of its lives
        stage.valkey.start()


FAULTS = (
    Fault(name="Redis flushed", strike=flush, place="broker"),
    Fault(name="Redis killed, data lost", strike=kill_forgetful, place="broker"),
    Fault(name="Redis killed, data kept", strike=kill_persistent, place="broker"),
    Fault(name="Redis frozen", strike=freeze, place="broker"),
    Fault(name="Redis full", strike=fill, place="broker"),
)
