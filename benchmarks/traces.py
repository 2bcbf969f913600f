"""Traces: each handler that starts notes how long after the publish that was, in a file of its process."""

import os
import time

from benchmarks.orders import Order
from benchmarks.stage import current

_folder = current().traces
_files: dict[int, int] = {}


def note(order: Order) -> None:
    """Note that a handler starts with *order*; nothing unless traces are asked for."""
    if _folder is None:
        return
    seconds = time.time() - order["placedAt"]
    process = os.getpid()
    if process not in _files:
        _files[process] = os.open(_folder / f"{process}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(_files[process], f"{seconds:.6f}\n".encode())
