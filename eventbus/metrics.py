"""Metrics for Prometheus, read from PostgreSQL when they are asked for: right whatever processes come and go, prefork or not.

    scrape ─▶ the read model ─▶ one family for each number

Labels are bounded: groups are those that subscribed; with more than `MOST_TYPES` types, all of them are summed as ``type="*"``.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from eventbus.bus import EventBus
from eventbus.durations import BOUNDS, Histogram, add
from eventbus.errors import DatabaseError
from eventbus.operations.monitoring import Measured

#: Beyond so many types, they are not told apart.
MOST_TYPES = 200
_ALL = "*"
_PAIR = ("type", "group")
#: By labels.
Counts = Mapping[Any, float]


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
        yield _labelled(
            GaugeMetricFamily("eventbus_fingerprints", "Causes of dead letters.", labels=["state"]),
            {(state,): count for state, count in measured.fingerprints.items()},
        )


def _by_type(measured: Measured) -> Iterator[Metric]:
    pairs = [*measured.handled, *measured.dead, *measured.runs, *measured.durations]
    bounded = len({*measured.published, *(type for type, _ in pairs)}) > MOST_TYPES
    published = {(type,): count for type, count in measured.published.items()}
    runs = measured.runs.items()
    counters: list[tuple[str, str, tuple[str, ...], Counts]] = [
        ("published", "Events in the log.", ("type",), published),
        ("handled", "Deliveries that reached done.", _PAIR, measured.handled),
        ("failed", "Runs of handlers that ended in an error.", _PAIR, {pair: run.failed for pair, run in runs}),
        ("deaths", "Runs of handlers that ended with their process.", _PAIR, {pair: run.deaths for pair, run in runs}),
        ("retries", "Runs that did not end well and are repeated.", _PAIR, {pair: run.retries for pair, run in runs}),
        ("dead", "Deliveries that were given up.", _PAIR, {pair: run.dead for pair, run in runs}),
    ]
    for name, text, labels, counts in counters:
        yield _labelled(CounterMetricFamily(f"eventbus_{name}", text, labels=labels), _summed(counts, bounded=bounded))
    dead = GaugeMetricFamily("eventbus_dead_letters", "Open dead letters.", labels=_PAIR)
    yield _labelled(dead, _summed(measured.dead, bounded=bounded))
    yield _histogram(measured.durations, bounded=bounded)


def _by_group(measured: Measured) -> Iterator[Metric]:
    gauges: list[tuple[str, str, Mapping[str, float]]] = [
        ("open_deliveries", "Deliveries that are not final.", measured.open),
        ("lag_events", "Deliveries that could be taken now.", measured.due),
        ("parked_deliveries", "Deliveries that wait for code which can read their events.", measured.parked),
        ("lag_seconds", "How long the oldest due delivery has been due.", measured.lag_seconds),
        ("workers", "Living workers that serve the group.", measured.workers),
        ("paused", "Whether the group is paused.", measured.paused),
    ]
    if measured.broker_messages is not None:
        gauges.append(("broker_messages", "Messages in the group's queue.", measured.broker_messages))
    for name, text, values in gauges:
        gauge = GaugeMetricFamily(f"eventbus_{name}", text, labels=["group"])
        yield _labelled(gauge, {(group,): value for group, value in values.items()})
    repairs = CounterMetricFamily("eventbus_relay_wake_ups", "Wake-ups that relays had to send.", labels=["group"])
    yield _labelled(repairs, {(group,): count for group, count in measured.repairs.items()})


def _histogram(durations: Mapping[tuple[str, str], Histogram], *, bounded: bool) -> Metric:
    found: dict[tuple[str, ...], list[Histogram]] = {}
    for (type, group), histogram in durations.items():
        found.setdefault((_ALL if bounded else type, group), []).append(histogram)
    name, text = "eventbus_handler_duration_seconds", "How long runs of handlers took, whatever their end."
    family = HistogramMetricFamily(name, text, labels=_PAIR)
    for labels, histograms in found.items():
        histogram = add(histograms)
        bounds = [*map(str, BOUNDS), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))
        family.add_metric(labels, buckets=buckets, sum_value=histogram.seconds)
    return family


def _summed(counts: Counts, *, bounded: bool) -> dict[tuple[str, ...], float]:
    """*counts*, whose first label is a type; summed over all types where they are *bounded*."""
    summed: dict[tuple[str, ...], float] = {}
    for (type, *rest), count in counts.items():
        labels = (_ALL if bounded else type, *rest)
        summed[labels] = summed.get(labels, 0) + count
    return summed


def _labelled(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[tuple[str, ...], float]
) -> CounterMetricFamily | GaugeMetricFamily:
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
