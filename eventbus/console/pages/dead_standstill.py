"""Standstill: whose deliveries would run again, but wait, because their group is paused or nobody serves it."""

from collections.abc import Iterator

from eventbus.console.view import View
from eventbus.lifecycle.resolving import Frozen

#: Of letters that were chosen one by one, so many are asked for their group.
_MOST_ASKED = 20


def what_stands_still(view: View, frozen: Frozen) -> str:
    """Sentences about the groups of *frozen* that will not run what is retried; empty if all will."""
    served = {name for worker in view.bus.workers() for name in worker.groups}
    told = []
    for name in _groups_of(view, frozen):
        if view.bus.group_details(name, open={}).group.paused:
            told.append(f" {name} is paused: its retried deliveries wait until somebody resumes it.")
        elif name not in served:
            told.append(f" {name} has no worker: its retried deliveries wait until one is started.")
    return "".join(told)


def _groups_of(view: View, frozen: Frozen) -> list[str]:
    if not frozen.ids:
        return []
    if frozen.sought.group is not None:
        return [frozen.sought.group]
    if frozen.sought.fingerprint is not None:
        return sorted(view.bus.fingerprint(frozen.sought.fingerprint).groups)
    return sorted(set(_groups_of_letters(view, frozen)))


def _groups_of_letters(view: View, frozen: Frozen) -> Iterator[str]:
    for id in frozen.ids[:_MOST_ASKED]:
        yield view.bus.dead_letter(id).letter.group
