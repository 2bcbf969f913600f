"""The verdict: SQL, and what publishers were told, decide what was lost and what was done twice."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.stage import PUBLISHERS, Stage
from tests.chaos.tables import ACCOUNTS, BALANCE
from tests.support.rows import Rows

#: Which events the groups of a storm are owed, by the first word of their type.
OWED = "(VALUES ('accounts', 'transfer'), ('courier', 'transfer'), ('ledger', 'transfer'), ('ledger', 'notice')) AS g (name, word)"
LOST = f"""
SELECT e.id::text || ' ' || g.name || ' ' || coalesce(d.state, 'has no delivery')
FROM eventbus.event_log AS e JOIN {OWED} ON split_part(e.type, '.', 1) = g.word
LEFT JOIN eventbus.delivery AS d ON d.event_id = e.id AND d.group_name = g.name
WHERE d.state IS NULL OR NOT (d.state IN ('done', 'dead') OR (d.state = 'cancelled' AND EXISTS (
    SELECT FROM eventbus.dead_letter AS l WHERE l.event_id = e.id AND l.group_name = g.name AND l.status = 'discarded')))
"""
# A second at either end: whoever published at that moment may or may not have seen the subscription.
UNSEEN_GUEST = """
SELECT e.id::text || ' guest has no delivery' FROM eventbus.event_log AS e
WHERE e.created_at BETWEEN %s::timestamptz + interval '1 second' AND %s::timestamptz - interval '1 second'
AND NOT EXISTS (SELECT FROM eventbus.delivery AS d WHERE d.event_id = e.id AND d.group_name = 'guest')
"""
# What ends a run of a session handler: done, or pending again because it was replayed meanwhile.
_COMPLETED = "c.before = 'running' AND (c.after = 'done' OR (c.after = 'pending' AND c.had_rerun))"
CHECKS = {
    "lost": LOST,
    "handled, but not committed": """
        SELECT event_id::text || ' ' || group_name FROM (SELECT event_id, group_name FROM chaos.effect
        UNION SELECT event_id, group_name FROM chaos.run) AS handled
        WHERE NOT EXISTS (SELECT FROM eventbus.event_log AS e WHERE e.id = handled.event_id)""",
    "published twice": "SELECT data ->> 'number' FROM eventbus.event_log GROUP BY 1 HAVING count(*) > 1",
    "effect without done": f"""
        SELECT f.event_id::text || ' ' || f.group_name FROM chaos.effect AS f WHERE f.in_session AND NOT EXISTS (
            SELECT FROM chaos.change AS c
            WHERE c.event_id = f.event_id AND c.group_name = f.group_name AND c.xid = f.xid AND {_COMPLETED})""",
    "done without effect": """
        SELECT c.event_id::text || ' ' || c.group_name FROM chaos.change AS c
        WHERE c.before = 'running' AND c.after = 'done' AND c.group_name IN ('accounts', 'ledger') AND NOT EXISTS (
            SELECT FROM chaos.effect AS f WHERE f.event_id = c.event_id AND f.group_name = c.group_name AND f.xid = c.xid)
        UNION ALL
        SELECT d.event_id::text || ' ' || d.group_name FROM eventbus.delivery AS d
        WHERE d.state = 'done' AND d.group_name <> 'guest' AND NOT EXISTS (
            SELECT FROM chaos.effect AS f WHERE f.event_id = d.event_id AND f.group_name = d.group_name)""",
    "effect repeated": """
        SELECT f.event_id::text || ' ' || f.group_name FROM (
            SELECT event_id, group_name, count(*) AS count, count(DISTINCT xid) AS commits FROM chaos.effect
            WHERE in_session GROUP BY 1, 2) AS f
        CROSS JOIN LATERAL (
            -- Each replay and each dead-letter retry allows for one more.
            SELECT count(*) FILTER (WHERE c.before IN ('done', 'dead', 'cancelled') OR (c.has_rerun AND NOT c.had_rerun)) AS count
            FROM chaos.change AS c WHERE c.event_id = f.event_id AND c.group_name = f.group_name) AS again
        WHERE f.count > 1 + again.count OR f.commits < f.count""",
    "money made or lost": f"""
        SELECT 'the sum is ' || sum(balance) FROM chaos.account HAVING sum(balance) <> {ACCOUNTS * BALANCE}""",
    "account moved without a done transfer": """
        SELECT a.id || ' has ' || a.balance FROM chaos.account AS a
        WHERE a.balance <> """
    f"{BALANCE}"
    """ + (SELECT coalesce(sum(CASE WHEN (e.data ->> 'to')::int = a.id THEN 1 ELSE -1 END * (e.data ->> 'amount')::int), 0)
            FROM chaos.effect AS f JOIN eventbus.event_log AS e ON e.id = f.event_id
            WHERE f.group_name = 'accounts' AND a.id IN ((e.data ->> 'to')::int, (e.data ->> 'from')::int))""",
    "dead without an open letter, or the other way round": """
        SELECT coalesce(d.event_id, l.event_id)::text FROM (SELECT * FROM eventbus.delivery WHERE state = 'dead') AS d
        FULL JOIN (SELECT * FROM eventbus.dead_letter WHERE status = 'open') AS l USING (event_id, group_name)
        WHERE d.event_id IS NULL OR l.event_id IS NULL""",
    "still open": "SELECT event_id::text || ' ' || group_name || ' ' || state FROM eventbus.delivery WHERE finished_at IS NULL",
}
#: Of the events in a window of time: how many, how many runs led to nothing, how many effects were outside a session and repeated.
WINDOW = """
WITH chosen AS (SELECT id FROM eventbus.event_log WHERE created_at BETWEEN to_timestamp(%s) AND to_timestamp(%s))
SELECT (SELECT count(*) FROM chosen),
    (SELECT count(*) FROM chaos.run WHERE event_id IN (SELECT id FROM chosen) AND group_name <> 'guest')
    - (SELECT count(*) FROM chaos.change WHERE event_id IN (SELECT id FROM chosen) AND group_name <> 'guest' AND before = 'running'
       AND (after = 'done' OR (after = 'pending' AND had_rerun)))
    - (SELECT count(*) FROM eventbus.attempt WHERE event_id IN (SELECT id FROM chosen) AND group_name <> 'guest' AND kind = 'error')
"""


@dataclass(kw_only=True)
class Window:
    """What befell the events that were published while a fault lasted."""

    name: str
    events: int
    lost: int
    repeated_runs: int
    repeated_effects: int


@dataclass(kw_only=True)
class Verdict:
    """What SQL says."""

    #: By what they are; empty where all is well.
    findings: dict[str, list[str]] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    events: int = 0
    deliveries: Counter[str] = field(default_factory=Counter)
    #: Innocent events that are dead: enough kills can do that to any event.
    innocent_dead: int = 0

    @property
    def problems(self) -> list[str]:
        return [f"{name}: {len(found)}, such as {found[0]}" for name, found in self.findings.items() if found]


def judge(stage: Stage, strikes: Sequence[tuple[str, float, float]]) -> Verdict:
    """What became of everything that was published on *stage*, and of what was published during each strike."""
    journals = [stage.journal(name) for name in PUBLISHERS]
    with stage.rows() as rows:
        return judge_rows(rows, journals=journals, visits=stage.visits, strikes=strikes)


def judge_rows(
    rows: Rows,
    *,
    journals: Iterable[Path] = (),
    visits: Iterable[tuple[str, str]] = (),
    strikes: Sequence[tuple[str, float, float]] = (),
) -> Verdict:
    """The same of a database and journals."""
    findings = {name: [str(text) for (text,) in rows.all(check)] for name, check in CHECKS.items()}
    findings["owed to the guest"] = [
        str(text) for begin, end in visits for (text,) in rows.all(UNSEEN_GUEST, begin, end)
    ]
    findings |= _compared(rows, journals)
    return Verdict(
        findings=findings,
        windows=[_window(rows, findings, *strike) for strike in strikes],
        events=rows.count("event_log"),
        deliveries=Counter(dict(rows.all("SELECT state, count(*)::int FROM eventbus.delivery GROUP BY 1"))),
        innocent_dead=rows.value(
            "SELECT count(*)::int FROM eventbus.delivery AS d JOIN eventbus.event_log AS e ON e.id = d.event_id "
            "WHERE d.state = 'dead' AND e.data ->> 'mood' IN ('ok', 'slow', 'fails once')"
        ),
    )


def _compared(rows: Rows, journals: Iterable[Path]) -> dict[str, list[str]]:
    """What publishers were told against what the log holds."""
    told: dict[str, str] = {}
    for journal in journals:
        for line in journal.read_text().splitlines() if journal.exists() else ():
            try:
                noted = json.loads(line)
            except ValueError:
                continue  # the publisher was killed while it wrote
            told[noted["number"]] = noted["outcome"]
    recorded = {number for (number,) in rows.all("SELECT data ->> 'number' FROM eventbus.event_log")}
    return {
        "returned, but not recorded": [n for n, outcome in told.items() if outcome == "returned" and n not in recorded],
        "refused, but recorded": [n for n, outcome in told.items() if outcome == "refused" and n in recorded],
        "raised, but no error of the bus": [
            f"{n} {outcome}" for n, outcome in told.items() if outcome.startswith("untyped")
        ],
        "recorded, but never published": sorted(n for n in recorded if n not in told and not n.startswith("early-")),
    }


def _window(rows: Rows, findings: dict[str, list[str]], name: str, began: float, ended: float) -> Window:
    events, repeated = rows.one(WINDOW, began, ended)
    chosen = {
        id
        for (id,) in rows.all(
            "SELECT id::text FROM eventbus.event_log WHERE created_at BETWEEN to_timestamp(%s) AND to_timestamp(%s)",
            began,
            ended,
        )
    }

    def among(*kinds: str) -> int:
        return sum(text.split()[0] in chosen for kind in kinds for text in findings[kind])

    return Window(
        name=name,
        events=events,
        lost=among("lost", "owed to the guest", "done without effect"),
        repeated_runs=max(0, repeated),
        repeated_effects=among("effect repeated", "effect without done"),
    )
