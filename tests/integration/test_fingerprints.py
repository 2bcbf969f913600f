"""Fingerprints of dead letters: one for each cause, counted as letters are written, new, acknowledged, resolved, returned."""

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from eventbus import EventBus
from eventbus.errors import InvalidInput, NotPermitted, UnknownFingerprint, UnknownGroup
from eventbus.lifecycle import fingerprinting, settlement
from eventbus.retry import RetryPolicy
from eventbus.storage import fingerprints
from eventbus.storage.fingerprints import KnownFingerprint
from tests.integration.conftest import MakeWorker, Run
from tests.support import wait_until
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns
from tests.support.statements import noted

PLACE = "test_fingerprints.py:raised"
ONCE = RetryPolicy(max_retries=0)
Die = Callable[..., int]


def raised(text: str) -> ValueError:
    """An error as a handler raises it."""
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


@pytest.fixture
def execution(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker of the groups ``a`` and ``b``, which want everything."""
    for group in "ab":
        bus.subscribe("#", group=group, handler=lambda event: None)
    return worker()


@pytest.fixture
def die(bus: EventBus, execution: SingleRuns) -> Die:
    """A function that publishes an event which ends as a dead letter of a group; the letter's id."""

    def make(text: str = "order 1 is gone", *, group: str = "a") -> int:
        event = bus.publish("order.created", {}, source="orders")
        claimed = execution.take(group, event.id, task_id=None)
        assert claimed is not None
        outcome = settlement.settle_failed(bus.database, claimed, raised(text), policy=ONCE, worker="w")
        assert isinstance(outcome, settlement.Dead)
        assert outcome.letter_id is not None
        return outcome.letter_id

    return make


def only(bus: EventBus) -> KnownFingerprint:
    """The one fingerprint that there is."""
    [found] = bus.fingerprints().items
    return found


def alerts(rows: Rows) -> Sequence[Any]:
    """What is to be told, in order."""
    return rows.all("SELECT kind, fingerprint, dead_letter_id FROM eventbus.alert ORDER BY id")


def finish(bus: EventBus, execution: SingleRuns, id: int) -> None:
    """Let the retried delivery of a letter be done."""
    letter = bus.dead_letter(id).letter
    claimed = execution.take(letter.group, letter.event_id, task_id=None)
    assert claimed is not None
    execution.done(claimed)


def test_letters_of_one_cause_are_one_line(bus: EventBus, die: Die, rows: Rows) -> None:
    """However many, and of whichever group; what is told of is the first."""
    first = die("order 1 is gone")
    die("order 2 is gone")
    last = die("order 3 is gone", group="b")
    other = die("no price")

    newest, found = bus.fingerprints().items

    assert (found.state, found.open, found.occurrences, found.groups) == ("new", 3, 3, ("a", "b"))
    assert (found.error_type, found.gist, found.place) == ("ValueError", "order ? is gone", PLACE)
    assert (found.newest_id, found.note) == (last, None)
    assert found.first_seen_at < found.last_seen_at <= newest.first_seen_at
    assert (newest.gist, newest.occurrences, newest.newest_id) == ("no price", 1, other)
    assert {letter.fingerprint for letter in bus.dead_letters(fingerprint=found.fingerprint).items} == {
        found.fingerprint
    }
    assert alerts(rows) == [("new", found.fingerprint, first), ("new", newest.fingerprint, other)]


def test_counting_costs_no_statement_and_ends_with_the_letters_transaction(
    bus: EventBus, die: Die, execution: SingleRuns, rows: Rows
) -> None:
    """The state, the attempt and the letter, as ever; where the letter is not written, nothing is counted and nothing told."""
    event = bus.publish("order.created", {}, source="orders")
    claimed = execution.take("a", event.id, task_id=None)
    assert claimed is not None
    sent: list[str] = []

    class Ended(Exception): ...

    with pytest.raises(Ended), bus.database.transaction() as connection:
        settlement.dead_letters.open_letter(connection, claimed, settlement.from_exception(raised("no")))
        assert connection.value("SELECT count(*) FROM eventbus.fingerprint") == 1
        raise Ended
    before = rows.count("fingerprint"), rows.count("alert"), rows.count("dead_letter")
    with noted(bus.database, lambda query, _: sent.append(query.split()[0])):
        settlement.settle_failed(bus.database, claimed, raised("no"), policy=ONCE, worker="w")

    assert before == (0, 0, 0)
    assert (rows.count("fingerprint"), rows.count("alert"), rows.count("dead_letter")) == (1, 1, 1)
    assert sent == ["UPDATE", "WITH", "WITH"]


@pytest.mark.parametrize("way", ["discard", "retry", "replay", "resolve"])
def test_a_cause_is_resolved_when_all_its_letters_have_ended(
    way: str, bus: EventBus, die: Die, execution: SingleRuns, rows: Rows
) -> None:
    """By discarding them, by retrying them until they are done, or because an operator says so; the next one has returned."""
    first, second = die(), die()
    known = only(bus)
    bus.acknowledge_fingerprint(known.fingerprint, note="Ann")

    if way == "discard":
        bus.discard_dead_letters(group="a", ids=[first], reason="no")
        assert only(bus).state == "acknowledged"
        bus.discard_dead_letters(group="a", fingerprint=known.fingerprint, reason="no")
        assert rows.value("SELECT state FROM eventbus.fingerprint") == "resolved"  # at once
    elif way == "resolve":
        bus.resolve_fingerprint(known.fingerprint, note="shop 1.2")
    else:
        if way == "retry":
            bus.retry_dead_letters(group="a", fingerprint=known.fingerprint)
        else:
            bus.replay("#", group="a", include_dead=True)
        for id in (first, second):
            assert (only(bus).state, only(bus).open) == ("acknowledged", 0)  # a retry is not an end
            finish(bus, execution, id)
    resolved = only(bus)
    assert only(bus) == resolved  # it is resolved once, however often somebody looks
    third = die("order 3 is gone")
    returned = only(bus)
    die("order 4 is gone")

    assert (resolved.state, resolved.note) == ("resolved", "shop 1.2" if way == "resolve" else "Ann")
    assert resolved.state_since > known.state_since
    assert (returned.state, returned.occurrences, returned.newest_id) == ("returned", 3, third)
    assert returned.state_since > resolved.state_since
    assert (only(bus).state, only(bus).state_since) == ("returned", returned.state_since)
    assert alerts(rows) == [("new", known.fingerprint, first), ("returned", known.fingerprint, third)]


def test_a_retry_that_fails_the_same_way_has_not_returned(
    bus: EventBus, die: Die, execution: SingleRuns, rows: Rows
) -> None:
    """Nothing was mended, so nothing is told."""
    first = die()
    bus.retry_dead_letters(group="a")
    fingerprinting.settle(bus.database)
    letter = bus.dead_letter(first).letter
    claimed = execution.take("a", letter.event_id, task_id=None)
    assert claimed is not None
    settlement.settle_failed(bus.database, claimed, raised("order 1 is gone"), policy=ONCE, worker="w")

    found = only(bus)

    assert (found.state, found.open, found.occurrences) == ("new", 1, 2)
    assert len(alerts(rows)) == 1


def test_many_letters_are_looked_at_in_parts(
    bus: EventBus, die: Die, execution: SingleRuns, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    """Each once, in their order; the one that still waits is where the next look begins."""
    monkeypatch.setattr(fingerprinting, "_LETTERS", 2)
    letters = [die() for _ in range(5)]
    bus.retry_dead_letters(group="a")
    for id in letters[:3]:
        finish(bus, execution, id)
    seen = []
    for _ in range(3):
        fingerprinting.settle(bus.database)
        seen.append(rows.value("SELECT settled_id FROM eventbus.fingerprint"))
    for id in letters[3:]:
        finish(bus, execution, id)

    states = []
    for _ in range(2):
        fingerprinting.settle(bus.database)
        states.append(rows.value("SELECT state FROM eventbus.fingerprint"))

    assert seen == [letters[1], letters[2], letters[2]]
    assert states == ["new", "resolved"]


def test_a_restored_letter_reopens_its_cause(bus: EventBus, die: Die, execution: SingleRuns, rows: Rows) -> None:
    """As known, not as news; and it is waited for again."""
    first, _ = die(), die()
    bus.discard_dead_letters(group="a", reason="no")
    bus.restore_dead_letters([first])
    restored = only(bus)
    bus.restore_dead_letters([first])  # there is nothing to restore any more
    bus.retry_dead_letters(group="a")
    waiting = only(bus)
    finish(bus, execution, first)

    assert (restored.state, restored.open) == ("acknowledged", 1)
    assert waiting.state == "acknowledged"
    assert only(bus).state == "resolved"
    assert len(alerts(rows)) == 1


def test_a_letter_that_is_being_written_keeps_its_cause_from_being_resolved(
    bus: EventBus, die: Die, execution: SingleRuns
) -> None:
    """Whoever writes it has the cause's lock: who settles passes it over, and the letter is seen afterwards."""
    first = die()
    event = bus.publish("order.created", {}, source="orders")
    claimed = execution.take("a", event.id, task_id=None)
    assert claimed is not None

    with bus.database.transaction() as connection:
        settlement.settling.mark_dead(connection, claimed, error="no", attempts=1, deaths=0)
        failure = settlement.from_exception(raised("order 2 is gone"))
        settlement.dead_letters.open_letter(connection, claimed, failure)
        bus.discard_dead_letters(group="a", ids=[first], reason="no")

    assert (only(bus).state, only(bus).open) == ("new", 1)


def test_who_writes_a_letter_of_a_cause_that_is_being_resolved_finds_it_resolved(
    bus: EventBus, die: Die, execution: SingleRuns, rows: Rows
) -> None:
    """Of the two, one is first: here the letter waits, and has returned."""
    die()
    bus.retry_dead_letters(group="a")
    bus.sweep()
    with bus.database.autocommit() as connection:
        connection.change("UPDATE eventbus.delivery SET state = 'done', finished_at = now()")
    ended: list[int] = []

    with bus.database.transaction() as connection:
        quiet = fingerprints.lock_quiet(connection, limit=10)
        thread = threading.Thread(target=lambda: ended.append(die("order 2 is gone")))
        thread.start()
        wait_until(rows.waiting, message="the letter to wait")
        assert fingerprints.settle(connection, quiet, limit=10) == quiet
    thread.join()

    assert (len(ended), only(bus).state) == (1, "returned")


def test_pages_follow_each_other(bus: EventBus, die: Die) -> None:
    """Each cause is on one page; they can be narrowed to a state and a group."""
    for word in ("no one", "no two", "no six"):
        die(word, group="b" if word == "no two" else "a")
    known = bus.fingerprints().items
    bus.acknowledge_fingerprint(known[1].fingerprint)

    first = bus.fingerprints(limit=2)
    second = bus.fingerprints(limit=2, cursor=first.next)

    assert [item.fingerprint for page in (first, second) for item in page.items] == [item.fingerprint for item in known]
    assert second.next is None
    assert [item.gist for item in bus.fingerprints(state="acknowledged").items] == ["no two"]
    assert [item.gist for item in bus.fingerprints(group="b").items] == ["no two"]
    assert bus.fingerprint(known[1].fingerprint).state == "acknowledged"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"state": "open"}, "state='open' must be one of"),
        ({"limit": 0}, "limit=0"),
        ({"cursor": "x"}, "cursor='x'"),
        ({"cursor": "2026-01-01T00:00:00/abc"}, "cursor="),
        ({"cursor": "2026-01-01T00:00:00+00:00/"}, "cursor="),
    ],
)
def test_what_cannot_be_listed_is_named(bus: EventBus, options: dict[str, Any], says: str) -> None:
    """One sentence."""
    with pytest.raises(InvalidInput, match=says):
        bus.fingerprints(**options)


def test_what_does_not_exist_is_named(bus: EventBus, die: Die) -> None:
    """Groups, fingerprints, and what is no fingerprint."""
    die()
    known = only(bus).fingerprint
    bus.resolve_fingerprint(known)
    for ask in (bus.fingerprint, bus.acknowledge_fingerprint, bus.resolve_fingerprint):
        with pytest.raises(UnknownFingerprint, match="fingerprint abc does not exist"):
            ask("abc")
    with pytest.raises(UnknownGroup):
        bus.fingerprints(group="c")
    with pytest.raises(InvalidInput, match="is not one, such as"):
        bus.dead_letters(fingerprint="a b")
    with pytest.raises(InvalidInput, match="note='  '"):
        bus.resolve_fingerprint(known, note="  ")
    with pytest.raises(InvalidInput, match="is resolved"):
        bus.acknowledge_fingerprint(known)


def test_changes_are_kept_in_the_audit(bus: EventBus, die: Die) -> None:
    """Who said so, of which."""
    die()
    known = only(bus).fingerprint

    bus.acknowledge_fingerprint(known, note="Ann")
    bus.resolve_fingerprint(known)

    assert [(entry.action, dict(entry.filter), entry.changed) for entry in bus.audit()] == [
        ("dead resolve", {"fingerprint": known}, 1),
        ("dead acknowledge", {"fingerprint": known, "note": "Ann"}, 1),
    ]


def test_letters_of_older_code_find_their_place(
    bus: EventBus, die: Die, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches; beside those that were counted meanwhile, and without being news."""
    monkeypatch.setattr(fingerprinting, "_ADOPTED", 2)
    letters = [die(group="b" if number == 1 else "a") for number in range(5)]
    known = only(bus).fingerprint
    rows.all("UPDATE eventbus.dead_letter SET fingerprint = 'older' WHERE id <= %s", letters[2])
    rows.all("UPDATE eventbus.fingerprint SET occurrences = 2, groups = '{a}', settled_id = %s", letters[4])

    fingerprinting.adopt(bus.database)
    fingerprinting.adopt(bus.database)
    found = only(bus)
    die()

    assert (found.fingerprint, found.occurrences, found.open, found.state) == (known, 5, 5, "new")
    assert found.groups == ("a", "b")
    assert rows.value("SELECT settled_id FROM eventbus.fingerprint") < letters[0]
    assert len(alerts(rows)) == 1


def test_all_letters_of_older_code_are_known_afterwards(bus: EventBus, die: Die, rows: Rows) -> None:
    """Where nothing was counted at all."""
    die("no one")
    die("no two", group="b")
    before = [item.fingerprint for item in bus.fingerprints().items]
    rows.all("DELETE FROM eventbus.fingerprint")

    fingerprinting.adopt(bus.database)

    assert [(item.fingerprint, item.occurrences) for item in bus.fingerprints().items] == [(fp, 1) for fp in before]


def test_who_may_only_look_sees_what_was_found_before(bus: EventBus, die: Die, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking needs no right to change."""
    die()

    def refuse(database: object) -> None:
        raise NotPermitted("here", "no")

    monkeypatch.setattr(fingerprinting, "settle", refuse)

    assert only(bus).state == "new"


def test_the_command_line_lists_acknowledges_and_resolves(
    bus: EventBus, die: Die, run_here: Run, environment: object
) -> None:
    """And takes a fingerprint wherever letters are chosen."""
    first, other = die(), die("no price")
    known = bus.dead_letter(first).letter.fingerprint

    listed = [json.loads(line) for line in run_here("dead", "fingerprints", "--json").stdout.splitlines()]
    plain = run_here("dead", "fingerprints", "--group", "a").stdout.splitlines()
    acknowledged = run_here("dead", "acknowledge", known, "--note", "Ann")
    letters = run_here("dead", "list", "--fingerprint", known, "--json").stdout.splitlines()
    shown = run_here("dead", "show", str(first)).stdout
    retried = run_here("dead", "retry", "--group", "a", "--fingerprint", known, "--yes")
    resolved = run_here("dead", "resolve", known)
    discarded = run_here("dead", "discard", "--group", "a", "--fingerprint", known, "--reason", "no", "--yes")
    missing = run_here("dead", "acknowledge", "abc")

    assert [(item["gist"], item["open"], item["groups"], item["state"]) for item in listed] == [
        ("no price", 1, ["a"], "new"),
        ("order ? is gone", 1, ["a"], "new"),
    ]
    assert plain[1].split("\t")[:8] == [known, "new", "1", "1", "ValueError", "order ? is gone", PLACE, "a"]
    assert acknowledged.returncode == resolved.returncode == 0
    assert bus.fingerprint(known).note == "Ann"
    assert [json.loads(line)["id"] for line in letters] == [first]
    assert known in shown
    assert retried.stdout == "1 dead letters retried.\n"
    assert discarded.stdout == "0 dead letters discarded.\n"
    assert bus.dead_letter(other).letter.status == "open"
    assert (missing.returncode, "does not exist" in missing.stderr) == (2, True)
