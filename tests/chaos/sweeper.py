"""A sweep every half second, until workers have a relay that looks after lost wake-ups.

python -m tests.chaos.sweeper
"""

import signal
import threading

import redis

from eventbus import EventBus
from eventbus.errors import EventBusError

#: A queue that holds so much wakes by itself.
PLENTY = 50


def main() -> None:
    """Sweep while queues are short, until SIGTERM."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    bus = EventBus.from_env()
    broker = redis.Redis.from_url(bus.settings.broker_url, socket_timeout=1, socket_connect_timeout=1)
    while not stopped.wait(0.5):
        try:
            if sum(int(broker.llen(bus.settings.queue(name))) for name in ("accounts", "ledger", "courier")) < PLENTY:  # type: ignore[arg-type]
                bus.sweep()
        except (EventBusError, redis.RedisError):
            continue  # the storm: the next sweep may do better


if __name__ == "__main__":
    main()
