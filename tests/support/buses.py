"""Buses of one process: it has one, for as long as it lives; tests have one after the other, and close what it keeps."""

from eventbus import EventBus
from eventbus.broker.redis_broker import RedisBroker


def close_bus(bus: EventBus) -> None:
    """Close all connections that *bus* holds."""
    made = vars(bus)
    if "database" in made:
        bus.database.dispose()
    if isinstance(broker := made.get("broker"), RedisBroker):
        for line in broker._redis._connections._idle:
            line._connection.disconnect()
    bus.app.close()
