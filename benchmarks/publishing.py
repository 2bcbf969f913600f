"""A publisher process: does what a line of its standard input asks, and answers with a line.

    {"do": "prepare"}                                   ─▶ {"seconds": []}
    {"do": "publish", "count": 100}                     ─▶ {"seconds": [of each]}
    {"do": "publish_many", "count": 1000}               ─▶ {"seconds": [of all]}
    {"do": "fill", "count": 1000}                       ─▶ {"seconds": [of all]}
    {"do": "pace", "count": 350, "per_second": 50}      ─▶ {"seconds": [of all]}

Publishers of all systems live at once and are asked in turn, so that what the machine does besides hits all of them alike.
"""

import asyncio
import importlib
import inspect
import json
import os
import sys
import time
from typing import Any, TextIO

from benchmarks.orders import order, orders

#: A backlog is made in parts, so that a large one needs no large memory.
_PART = 5000


class Publisher:
    """One system's publisher, and how far its orders are numbered."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._number = 0
        self._started = False

    async def answer(self, asked: dict[str, Any]) -> list[float]:
        """Do what is *asked*; the seconds that it took."""
        if asked["do"] == "prepare":
            self._module.prepare()
            return []
        if not self._started:
            self._started = True
            await _finish(getattr(self._module, "start", lambda: None)())
        action = {
            "publish": self._publish,
            "publish_many": self._publish_many,
            "fill": self._fill,
            "pace": self._pace,
        }[asked["do"]]
        seconds = await action(asked)
        self._number += asked["count"]
        return seconds

    async def _publish(self, asked: dict[str, Any]) -> list[float]:
        publish, is_async = self._module.publish, inspect.iscoroutinefunction(self._module.publish)
        seconds = []
        for item in [order(self._number + count) for count in range(asked["count"])]:
            began = time.perf_counter()
            if is_async:
                await publish(item)
            else:
                publish(item)
            seconds.append(time.perf_counter() - began)
        return seconds

    async def _publish_many(self, asked: dict[str, Any]) -> list[float]:
        began = time.perf_counter()
        await _finish(self._module.publish_many(orders(self._number, asked["count"])))
        return [time.perf_counter() - began]

    async def _fill(self, asked: dict[str, Any]) -> list[float]:
        """A backlog for workers: by the system's fastest way that leaves the same behind."""
        began = time.perf_counter()
        fill = getattr(self._module, "fill", self._module.publish_many)
        for start in range(0, asked["count"], _PART):
            await _finish(fill(orders(self._number + start, min(_PART, asked["count"] - start))))
        return [time.perf_counter() - began]

    async def _pace(self, asked: dict[str, Any]) -> list[float]:
        began = time.perf_counter()
        for count in range(asked["count"]):
            wait = began + count / asked["per_second"] - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            await _finish(self._module.publish(order(self._number + count)))
        return [time.perf_counter() - began]


async def _finish(result: Any) -> None:
    if inspect.isawaitable(result):
        await result


async def serve(module: str, answers: TextIO) -> None:
    """Answer until standard input ends."""
    publisher = Publisher(importlib.import_module(f"benchmarks.systems.{module}"))
    for line in sys.stdin:
        seconds = await publisher.answer(json.loads(line))
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    # Whatever a library prints is no answer.
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asyncio.run(serve(sys.argv[1], own))
