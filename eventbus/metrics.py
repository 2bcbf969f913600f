"""Metrics for Prometheus, read from PostgreSQL when they are asked for: right whatever processes come and go, prefork or not.

    scrape ─▶ the read model ─▶ one family for each number

Labels are bounded: groups are those that subscribed; with more than `MOST_TYPES` types, all of them are summed as ``type="*"``.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from eventbus.bus import EventBus
from eventbus.errors import DatabaseError
from eventbus.operations.monitoring import Measured

#: Beyond so many types, they are not told apart.
MOST_TYPES = 200
_ALL = "*"


class BusCollector(Collector):
    """What a bus does, as a registry of prometheus_client collects it."""

    def __init__(self, bus: EventBus) -> None:
        """Read from *bus* at each scrape; making one reads nothing."""
        self._bus = bus

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering a collector is no reason to ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The numbers as of now; only ``eventbus_up`` while PostgreSQL cannot be asked."""
        try:
            measured = self._bus.measure()
        except DatabaseError:
            yield GaugeMetricFamily("eventbus_up", "Whether PostgreSQL could be asked.", value=0)
            return
        yield GaugeMetricFamily("eventbus_up", "Whether PostgreSQL could be asked.", value=1)
        yield from _by_type(measured)
        yield from _by_group(measured)


def _by_type(measured: Measured) -> Iterator[Metric]:
    types = {*measured.published, *(type for type, _ in [*measured.handled, *measured.dead])}
    bounded = len(types) > MOST_TYPES
    published = CounterMetricFamily("eventbus_published", "Events in the log.", labels=["type"])
    for (type,), count in _summed(
        {(type,): count for type, count in measured.published.items()}, bounded=bounded
    ).items():
        published.add_metric([type], count)
    yield published
    handled = CounterMetricFamily("eventbus_handled", "Deliveries that reached done.", labels=["type", "group"])
    for labels, count in _summed(measured.handled, bounded=bounded).items():
        handled.add_metric(list(labels), count)
    yield handled
    dead = GaugeMetricFamily("eventbus_dead_letters", "Open dead letters.", labels=["type", "group"])
    for labels, count in _summed(measured.dead, bounded=bounded).items():
        dead.add_metric(list(labels), count)
    yield dead


def _summed(
    counts: Mapping[tuple[str, str], int] | Mapping[tuple[str], int], *, bounded: bool
) -> dict[tuple[str, ...], int]:
    """*counts*, whose first label is a type; summed over all types where they are *bounded*."""
    summed: dict[tuple[str, ...], int] = {}
    for (type, *rest), count in counts.items():
        labels = (_ALL if bounded else type, *rest)
        summed[labels] = summed.get(labels, 0) + count
    return summed


def _by_group(measured: Measured) -> Iterator[Metric]:
    gauges: list[tuple[str, str, Mapping[str, float]]] = [
        ("open_deliveries", "Deliveries that are not final.", measured.open),
        ("lag_seconds", "How long the oldest due delivery has been due.", measured.lag_seconds),
        ("workers", "Living workers that serve the group.", measured.workers),
        ("paused", "Whether the group is paused.", measured.paused),
    ]
    if measured.broker_messages is not None:
        gauges.append(("broker_messages", "Messages in the group's queue.", measured.broker_messages))
    for name, text, values in gauges:
        gauge = GaugeMetricFamily(f"eventbus_{name}", text, labels=["group"])
        for group, value in values.items():
            gauge.add_metric([group], value)
        yield gauge
    repairs = CounterMetricFamily("eventbus_relay_wake_ups", "Wake-ups that relays had to send.", labels=["group"])
    for group, count in measured.repairs.items():
        repairs.add_metric([group], count)
    yield repairs
