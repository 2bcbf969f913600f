"""Tests that measure time run while no other test does, whatever number of processes shares the run.

other tests   hold LOCK shared
marked tests  hold LOCK alone; whoever comes meanwhile waits at DOOR, or it would never be their turn
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MARKER = "alone"


@contextmanager
def room(item: pytest.Item, folder: Path) -> Iterator[None]:
    """Wait until *item* may run beside what runs already, and hold others back as it needs.

    Args:
        folder: The same one in all processes of the run.
    """
    kind = fcntl.LOCK_EX if item.get_closest_marker(MARKER) else fcntl.LOCK_SH
    with (folder / "lock").open("w") as lock:
        with (folder / "door").open("w") as door:
            fcntl.flock(door, kind)
            fcntl.flock(lock, kind)
        yield
