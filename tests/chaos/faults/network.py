"""Connections to PostgreSQL that are cut: before a statement, in its middle, or before its answer."""

import random

from tests.chaos.faults.fault import Fault, pause
from tests.chaos.stage import Stage
from tests.support.fault_proxy import Fault as Cut


def cut(stage: Stage, chance: random.Random) -> None:
    """Whatever statement comes next, of workers or publishers."""
    for _ in range(chance.randint(3, 10)):
        proxy = chance.choice([stage.worker_proxy, stage.publisher_proxy])
        proxy.lose(chance.choice(list(Cut)), "", keep_server_side=chance.random() < 0.2)
        pause(chance.uniform(0, 0.3))


def lose_commits(stage: Stage, chance: random.Random) -> None:
    """The commit happens, and whoever asked for it is not told."""
    for _ in range(chance.randint(2, 4)):
        stage.worker_proxy.lose(Cut.ANSWERED, "COMMIT", times=2)
        stage.publisher_proxy.lose(Cut.ANSWERED, chance.choice(["COMMIT", "event_log"]), times=2)
        pause(chance.uniform(0.3, 0.6))


def refuse(stage: Stage, chance: random.Random) -> None:
    """No new connection, while those that are open are cut."""
    proxies = [stage.worker_proxy, stage.publisher_proxy]
    for proxy in proxies:
        proxy.lose(Cut.UNANSWERED, "", times=3)
        proxy.refuses = True
    try:
        pause(chance.uniform(0.3, 2))
    finally:
        for proxy in proxies:
            proxy.lose(Cut.BEFORE, "", times=0)
            proxy.refuses = False


FAULTS = (
    Fault(name="connections cut in mid-statement", strike=cut, place="network"),
    Fault(name="answers of COMMIT lost", strike=lose_commits, place="network"),
    Fault(name="connections refused", strike=refuse, place="network"),
)
