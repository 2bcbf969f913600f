"""Summaries: what a pulse says of each group, in the figures that tiles and lists show; those that need attention come first."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from eventbus.delivery import State
from eventbus.durations import Durations
from eventbus.lifecycle.diagnosing import Finding, Level
from eventbus.storage.overview.groups import GroupState
from eventbus.storage.overview.pulse import Pulse
from eventbus.storage.workers import Seen
from eventbus.subscription import matches

#: Rates are those of the last whole minutes, so many of them.
_RECENT = 5
_ORDER = {Level.FAULT: 0, Level.NOTICE: 1, Level.OK: 2}


@dataclass(frozen=True, kw_only=True)
class GroupSummary:
    """One group."""

    group: GroupState
    #: Of the gravest finding about it.
    level: Level
    #: Deliveries that are not final, by state.
    open: dict[State, int]
    #: Open dead letters.
    dead: int
    workers: Sequence[Seen]
    #: How long its handlers ran in the last hour; None if none did.
    durations: Durations | None
    #: By the minute, for the last hour: events for it, deliveries that reached done, runs that failed.
    arrived: Sequence[int]
    handled: Sequence[int]
    failed: Sequence[int]

    @property
    def depth(self) -> int:
        return sum(self.open.values())

    @property
    def error_share(self) -> float | None:
        """Which part of the last hour's runs failed; None if nothing ran."""
        runs = sum(self.failed) + sum(self.handled)
        return sum(self.failed) / runs if runs else None

    @property
    def handled_per_minute(self) -> float:
        return _recent(self.handled)

    @property
    def arrived_per_minute(self) -> float:
        return _recent(self.arrived)

    @property
    def drainable(self) -> int:
        """Open deliveries but those that wait for their next try: these come when their time has come, not as fast as others."""
        return self.depth - self.open.get(State.RETRYING, 0)

    @property
    def drains_in(self) -> timedelta | None:
        """When all that is drainable will be handled, if it goes on like in the last minutes; None if it will not."""
        if self.drainable == 0:
            return timedelta()
        net = self.handled_per_minute - self.arrived_per_minute
        return timedelta(minutes=self.drainable / net) if net > 0 and not self.group.paused else None


def summarize(pulse: Pulse, findings: Iterable[Finding]) -> list[GroupSummary]:
    """All groups: those with faults first, then those with notices; the latest first among each."""
    levels: dict[str | None, Level] = {}
    for finding in findings:
        levels[finding.subject] = min(finding.level, levels.get(finding.subject, Level.OK), key=_ORDER.__getitem__)
    found = [_summary(group, pulse, levels.get(group.name, Level.OK)) for group in pulse.groups]
    return sorted(found, key=lambda each: (_ORDER[each.level], -each.group.lag, each.group.name))


def gravest(findings: Iterable[Finding]) -> Level:
    """The level of the gravest of *findings*; ok if there is none."""
    return min((finding.level for finding in findings), key=_ORDER.__getitem__, default=Level.OK)


def attention(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that are not ok, faults first."""
    return sorted(
        (finding for finding in findings if finding.level is not Level.OK), key=lambda each: _ORDER[each.level]
    )


def total(series: Iterable[Sequence[int]], length: int) -> list[int]:
    """The sum of several series, minute by minute."""
    sums = [0] * length
    for values in series:
        sums = [a + b for a, b in zip(sums, values, strict=True)]
    return sums


def chart(minutes: Sequence[datetime], series: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What the script draws of *series*, by their labels, without the minute that is under way."""
    return {
        "at": [int(minute.timestamp()) for minute in minutes[:-1]],
        "series": [{"label": label, "values": list(values)[:-1]} for label, values in series.items()],
    }


def _summary(group: GroupState, pulse: Pulse, level: Level) -> GroupSummary:
    rates, name = pulse.rates, group.name
    none = [0] * len(rates.minutes)
    patterns = [wish.pattern for wish in pulse.wishes if wish.group == name]
    wanted = [values for type, values in rates.published.items() if any(matches(pattern, type) for pattern in patterns)]
    return GroupSummary(
        group=group,
        level=level,
        open=dict(pulse.open.get(name, {})),
        dead=pulse.stats.by_group[name].dead,
        durations=pulse.durations.get(name),
        workers=[worker for worker in pulse.workers if name in worker.groups],
        arrived=total(wanted, len(none)),
        handled=rates.handled.get(name, none),
        failed=rates.failed.get(name, none),
    )


def _recent(series: Sequence[int]) -> float:
    """Per minute; the last minute is under way."""
    return sum(series[-_RECENT - 1 : -1]) / _RECENT
