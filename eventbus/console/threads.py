"""Threads: pages, streams and logins have some each, so that those that wait for PostgreSQL leave files and the login theirs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Threads:
    """How many of each kind run at once in one console."""

    pages: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(20))
    streams: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(10))
    logins: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))


async def run_in_thread(function: Callable[..., Answer], *arguments: Any, among: CapacityLimiter) -> Answer:
    """What *function* returns, from a thread, as soon as one is free *among* those of its kind."""
    return await to_thread.run_sync(function, *arguments, limiter=among)
