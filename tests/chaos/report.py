"""The report: a line for each kind of fault, as text and as the page docs/why/chaos.md."""

import os
import platform
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.chaos.faults import ALL
from tests.chaos.storm import Outcome

PAGE = Path(__file__).resolve().parents[2] / "docs" / "why" / "chaos.md"
_HEADER = ("fault", "times", "events", "lost", "repeated runs", "repeated effects", "recovered in, median", "at most")
_INTRODUCTION = """\
# What a storm leaves behind

Written by `make chaos SEEDS={count} SECONDS={seconds:g}` ({processors}, Python {python}; PostgreSQL and Valkey
on the same machine).

Two publishers publish in every way there is: plain, with keys, in bulk, and in sessions that commit late or roll back. Four
workers of two processes each serve three groups with a lease of two seconds. Meanwhile faults strike, in an order that a seed
decides; every third time, two strike at once. Then SQL checks that every committed event is done or dead in every group that it
was owed to, that the effects of `session` handlers exist exactly with the `done` they belong to, that no money was made or lost,
that no row is open, and that queues are empty and stay empty. See [tests/chaos](../../tests/chaos).

*Events* were published while such a fault struck, or afterwards until work went on normally. *Lost* events are neither done
nor dead, or are done without their effect. *Repeated runs* began again because a process or a connection died, which
at-least-once permits. *Repeated effects* of `session` handlers must not occur. How soon things *recovered* depends on what else
the machine did: its load average was {load}.
"""


@dataclass
class _Line:
    times: int = 0
    events: int = 0
    lost: int = 0
    repeated_runs: int = 0
    repeated_effects: int = 0
    recoveries: list[float] = field(default_factory=list)


def cells(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """A line for each kind of fault, then one for all."""
    lines: dict[str, _Line] = defaultdict(_Line)
    for outcome in outcomes:
        for strike, window in zip(outcome.strikes, outcome.verdict.windows, strict=True):
            line = lines[strike.name]
            line.times += 1
            line.events += window.events
            line.lost += window.lost
            line.repeated_runs += window.repeated_runs
            line.repeated_effects += window.repeated_effects
            if strike.recovered_after is not None:
                line.recoveries.append(strike.recovered_after)
    return [_cells(fault.name, lines[fault.name]) for fault in ALL if fault.name in lines] + [_total(outcomes)]


def text(outcomes: Sequence[Outcome]) -> str:
    """For a terminal."""
    rows = [_HEADER, *cells(outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", *(_summary(outcome) for outcome in outcomes)])


def write_page(outcomes: Sequence[Outcome], page: Path = PAGE) -> None:
    """Write the table, and what it means, as Markdown."""
    introduction = _INTRODUCTION.format(
        count=len(outcomes),
        seconds=outcomes[0].seconds,
        processors=f"{platform.machine()}, {_processors()} processors",
        python=platform.python_version(),
        load=_span([outcome.load for outcome in outcomes]),
    )
    rows = [_HEADER, ("---",) * len(_HEADER), *cells(outcomes)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    events = sum(outcome.verdict.events for outcome in outcomes)
    failed = [outcome.seed for outcome in outcomes if outcome.problems]
    closing = f"{len(outcomes)} seeds, {events:,} events; seeds that failed: {', '.join(map(str, failed)) or 'none'}."
    seeds = ", ".join(str(outcome.seed) for outcome in outcomes)
    page.write_text(f"{introduction}\n{table}\n\n{closing}\n\nSeeds: {seeds}.\n")


def _cells(name: str, line: _Line) -> tuple[str, ...]:
    seconds = (
        [f"{value:.1f} s" for value in (median(line.recoveries), max(line.recoveries))]
        if line.recoveries
        else ["?", "?"]
    )
    counts = (line.times, line.events, line.lost, line.repeated_runs, line.repeated_effects)
    return (name, *(f"{count:,}" for count in counts), *seconds)


def _total(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    verdicts = [outcome.verdict for outcome in outcomes]
    lost = sum(len(v.findings[kind]) for v in verdicts for kind in ("lost", "owed to the guest", "done without effect"))
    effects = sum(len(v.findings[kind]) for v in verdicts for kind in ("effect repeated", "effect without done"))
    times = sum(len(outcome.strikes) for outcome in outcomes)
    events = sum(verdict.events for verdict in verdicts)
    return ("all storms", f"{times:,}", f"{events:,}", f"{lost:,}", "", f"{effects:,}", "", "")


def _summary(outcome: Outcome) -> str:
    verdict = outcome.verdict
    states = ", ".join(f"{count} {state}" for state, count in sorted(verdict.deliveries.items()))
    lines = [
        f"seed {outcome.seed}: {verdict.events} events; deliveries: {states}; calm after {outcome.calm_seconds:.1f} s;"
        f" innocent and dead: {verdict.innocent_dead}",
        *(f"  PROBLEM {problem}" for problem in outcome.problems),
        *(f"  {text}" for text in outcome.ended),
    ]
    return "\n".join(lines)


def _span(values: Sequence[float]) -> str:
    least, most = f"{min(values):.1f}", f"{max(values):.1f}"
    return least if least == most else f"{least} to {most}"


def _processors() -> int:
    return os.cpu_count() or 1
