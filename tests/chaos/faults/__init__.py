"""The faults: what may befall a bus. Each does its harm, waits, and heals it, all in one call.

strike(stage, random) ─▶ harm ─▶ a random while ─▶ healed
"""

from tests.chaos.faults import broker, database, messages, network, operators, publishers, workers
from tests.chaos.faults.fault import Fault

ALL: tuple[Fault, ...] = (
    *workers.FAULTS,
    *publishers.FAULTS,
    *broker.FAULTS,
    *database.FAULTS,
    *network.FAULTS,
    *messages.FAULTS,
    *operators.FAULTS,
)

__all__ = ["ALL", "Fault"]
