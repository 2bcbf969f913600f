"""Measures: what metrics tell, from the same queries as every other view."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eventbus.storage import overview, repairs, workers
from eventbus.storage.database import Connection
from eventbus.storage.overview.groups import GroupState, read_groups
from eventbus.storage.repairs import Repairs
from eventbus.storage.workers import Seen


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Numbers by type, by (type, group) and by group."""

    published: Mapping[str, int]
    handled: Mapping[tuple[str, str], int]
    dead: Mapping[tuple[str, str], int]
    open: Mapping[str, int]
    groups: Sequence[GroupState]
    workers: Sequence[Seen]
    repairs: Mapping[str, Repairs]


def read_measures(connection: Connection) -> Measures:
    """All of them; each as of its own moment."""
    published, handled = overview.read_traffic(connection)
    return Measures(
        published=published,
        handled=handled,
        dead=overview.count_dead(connection),
        open=overview.count_open(connection),
        groups=read_groups(connection),
        workers=workers.list_live(connection),
        repairs=repairs.read(connection),
    )
