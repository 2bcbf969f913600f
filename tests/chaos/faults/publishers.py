"""Publishers that are killed or frozen between any two of their instructions."""

import random

from tests.chaos.faults.fault import Fault, pause
from tests.chaos.stage import Stage


def kill(stage: Stage, chance: random.Random) -> None:
    """What it had begun is committed or not, and nobody was told."""
    publisher = chance.choice(stage.publishers)
    publisher.process.kill()
    pause(chance.uniform(0, 0.5))
    publisher.start()


def freeze(stage: Stage, chance: random.Random) -> None:
    """Perhaps with a transaction open."""
    publisher = chance.choice(stage.publishers)
    publisher.process.freeze()
    try:
        pause(chance.uniform(0.5, 2))
    finally:
        publisher.process.thaw()


FAULTS = (
    Fault(name="publisher killed", strike=kill, place="publishers"),
    Fault(name="publisher frozen", strike=freeze, place="publishers"),
)
