"""Sessions: a handler that inserts one row through its session, beside bare loops of insert and commit.

As many loops run as the worker has processes, on the same table; and, to be reported, one alone. All are without anybody else to
disturb them.
"""

import os
import subprocess
import sys
from collections.abc import Callable

from benchmarks.arena import Contender
from benchmarks.measuring.draining import drain
from benchmarks.measuring.samples import Samples
from benchmarks.orders import GROUPS
from benchmarks.processes import ROOT
from benchmarks.sizes import Sizes

Say = Callable[[str], None]

#: A worker has as many processes as there are cores: Celery's default.
LOOPS = os.cpu_count() or 1
_TABLE = (
    "CREATE TABLE IF NOT EXISTS effect (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id text, amount text)"
)


def measure_sessions(contender: Contender, sizes: Sizes, samples: Samples, say: Say) -> None:
    """Samples of `session`: rows per second, of both kinds of loop and of the handlers."""
    contender.query(_TABLE)
    for number in range(sizes.rounds):
        say(f"session, round {number + 1}")
        contender.settle()
        rate = _loop("loop", contender, sizes.loop_seconds)
        samples.add("session", "loop", [rate])
        samples.add("session", "one_loop", [_loop("loop", contender, sizes.loop_seconds, count=1)])
        samples.add("session", "session_loop", [_loop("session_loop", contender, sizes.loop_seconds)])
        events = max(sizes.calibration_events, int(rate * sizes.drain_seconds / len(GROUPS)))
        drained = drain(contender, events)
        samples.add("session", "eventbus_session", [drained.per_second])
        contender.query("TRUNCATE effect")


def _loop(kind: str, contender: Contender, seconds: float, *, count: int = LOOPS) -> float:
    environment = os.environ | contender.stage.environment() | {"PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "benchmarks.bare_loop", kind, str(seconds)]
    loops = [subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    return sum(int(loop.communicate()[0]) for loop in loops) / seconds
