"""Overview: the numbers that the command line, the console and metrics show, read in one place so that they cannot disagree.

    traffic_total + traffic_tally + the log since the last count ─▶ published, consumed
    open dead letters, open deliveries                           ─▶ dead, queue depths

Nothing is read from the broker. No question costs more the longer the log is: what is open has indexes, the rest is counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from eventbus.storage import traffic
from eventbus.storage.database import Connection

COUNTED_UNTIL = f"SELECT {traffic.COUNTED_UNTIL}"
# One statement, so that a count that is being moved is seen in one place, and in one only. That the log was counted at least up to
# :since tells the planner, which knows no subquery's result, how little of it is read.
TRAFFIC = f"""
SELECT type, group_name, CAST(sum(published) AS bigint) AS published, CAST(sum(consumed) AS bigint) AS consumed FROM (
    SELECT type, group_name, published, consumed FROM eventbus.traffic_total
    UNION ALL
    SELECT type, group_name, 0, consumed FROM eventbus.traffic_tally
    UNION ALL
    SELECT type, '', count(*), 0 FROM eventbus.event_log
    WHERE id >= eventbus.uuid_floor(CAST(:since AS timestamptz)) AND id >= eventbus.uuid_floor({traffic.COUNTED_UNTIL})
    GROUP BY type
) AS counted
GROUP BY type, group_name
"""
DEAD = "SELECT type, group_name, count(*) AS dead FROM eventbus.dead_letter WHERE status = 'open' GROUP BY type, group_name"
# Group by group, each by the index of what is open: all at once, a large backlog would have the whole table read.
DEPTHS = """
SELECT known.name, open.depth, open.due FROM eventbus.consumer_group AS known CROSS JOIN LATERAL (
    SELECT count(*) AS depth, count(*) FILTER (WHERE d.due_at <= statement_timestamp()) AS due
    FROM eventbus.delivery AS d WHERE d.group_name = known.name AND d.finished_at IS NULL
) AS open
ORDER BY known.name
"""
# By the index of open deliveries, without their events: there may be very many.
PARKED = """
SELECT s.group_name, CAST(sum(parked.number) AS bigint) AS number
FROM eventbus.subscription AS s CROSS JOIN LATERAL (
    SELECT count(*) AS number FROM eventbus.delivery AS d
    WHERE d.group_name = s.group_name AND d.subscription_id = s.id AND d.state = 'parked' AND d.finished_at IS NULL
) AS parked
WHERE parked.number > 0 GROUP BY s.group_name
"""


@dataclass(frozen=True, kw_only=True)
class TypeStats:
    """What happened to events of one type."""

    #: Events in the log.
    published: int = 0
    #: Deliveries that reached done, replays included, of all groups.
    consumed: int = 0
    #: Open dead letters.
    dead: int = 0


@dataclass(frozen=True, kw_only=True)
class GroupStats:
    """What one consumer group did, and has to do."""

    #: Deliveries that reached done, replays included.
    consumed: int = 0
    #: Open dead letters.
    dead: int = 0
    #: Deliveries that are not final: due, waiting, running or parked.
    depth: int = 0


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What a group has to do."""

    #: Deliveries that are not final.
    open: int
    #: Those of them that could be taken now: neither running, nor waiting for a retry or for other code.
    due: int


@dataclass(frozen=True, kw_only=True)
class Stats:
    """The bus in numbers."""

    published: int
    consumed: int
    dead: int
    #: Deliveries that are not final, by group.
    queue_depths: Mapping[str, int]
    by_type: Mapping[str, TypeStats]
    by_group: Mapping[str, GroupStats]


def read_stats(connection: Connection) -> Stats:
    """The bus in numbers, as far as transactions have committed; types and groups by name."""
    published, consumed = read_traffic(connection)
    return stats_of(published, consumed, dead=count_dead(connection), depths=count_open(connection))


def stats_of(
    published: Mapping[str, int],
    consumed: Mapping[tuple[str, str], int],
    *,
    dead: Mapping[tuple[str, str], int],
    depths: Mapping[str, int],
) -> Stats:
    """The bus in numbers, from what was counted: by type, by type and group, or by group."""
    pairs = {*consumed, *dead}
    types = sorted({*published, *(type for type, _ in pairs)})
    groups = sorted({*depths, *(group for _, group in pairs)})
    return Stats(
        published=sum(published.values()),
        consumed=sum(consumed.values()),
        dead=sum(dead.values()),
        queue_depths=depths,
        by_type={
            name: TypeStats(
                published=published.get(name, 0),
                consumed=sum(count for (type, _), count in consumed.items() if type == name),
                dead=sum(count for (type, _), count in dead.items() if type == name),
            )
            for name in types
        },
        by_group={
            name: GroupStats(
                consumed=sum(count for (_, group), count in consumed.items() if group == name),
                dead=sum(count for (_, group), count in dead.items() if group == name),
                depth=depths.get(name, 0),
            )
            for name in groups
        },
    )


def read_traffic(connection: Connection) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """Events by type; and deliveries that reached done, by type and group."""
    since = connection.value(COUNTED_UNTIL, beginning=traffic.BEGINNING)
    rows = connection.rows(TRAFFIC, since=since, beginning=traffic.BEGINNING)
    published = {row.type: row.published for row in rows if row.group_name == ""}
    return published, {(row.type, row.group_name): row.consumed for row in rows if row.group_name != ""}


def count_dead(connection: Connection) -> dict[tuple[str, str], int]:
    """Open dead letters, by type and group."""
    return {(row.type, row.group_name): row.dead for row in connection.rows(DEAD)}


def count_open(connection: Connection) -> dict[str, int]:
    """Deliveries that are not final, by group; every group that is known, by name."""
    return {name: backlog.open for name, backlog in count_backlogs(connection).items()}


def count_backlogs(connection: Connection) -> dict[str, Backlog]:
    """What each group has to do; every group that is known, by name."""
    return {row.name: Backlog(open=row.depth, due=row.due) for row in connection.rows(DEPTHS)}


def count_parked(connection: Connection) -> dict[str, int]:
    """Deliveries that wait for code which can read their events, by group; those of groups that have any."""
    return {row.group_name: row.number for row in connection.rows(PARKED)}
