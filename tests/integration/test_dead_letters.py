"""Dead letters: found, shown, retried as if new, discarded with a reason; each once, however many operators there are."""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from eventbus import EventBus
from eventbus.errors import DatabaseBusy, InvalidEventType, InvalidGroup, InvalidInput, UnknownDeadLetter, UnknownGroup
from eventbus.lifecycle import fingerprinting, resolving, settlement
from eventbus.lifecycle.dead_lettering import Sought
from eventbus.retry import RetryPolicy
from tests.integration.conftest import MakeBus, MakeWorker, Run
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns

ONCE = RetryPolicy(max_retries=0)
Messages = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def execution(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker of the groups ``a`` and ``b``, which want everything."""
    for group in "ab":
        bus.subscribe("#", group=group, handler=lambda event: None)
    return worker()


Die = Callable[..., int]


@pytest.fixture
def die(bus: EventBus, execution: SingleRuns) -> Die:
    """A function that publishes an event which ends as a dead letter of a group; the letter's id."""

    def make(type: str = "order.created", group: str = "a", error: Exception | None = None) -> int:
        event = bus.publish(type, {"id": 1}, source="orders")
        claimed = execution.take(group, event.id, task_id=None)
        assert claimed is not None
        outcome = settlement.settle_failed(
            bus.database, claimed, error or KeyError("sku"), policy=ONCE, worker="worker-1"
        )
        assert isinstance(outcome, settlement.Dead)
        assert outcome.letter_id is not None
        return outcome.letter_id

    return make


def listed(bus: EventBus, *arguments: Any, **options: Any) -> list[int]:
    """The ids of a page of letters."""
    return [letter.id for letter in bus.dead_letters(*arguments, **options).items]


def test_letters_are_listed_newest_first_by_what_is_asked(bus: EventBus, die: Die) -> None:
    """Type, group and error type narrow the list; each letter says what it is about."""
    first = die()
    second = die("order.paid", error=ValueError("bad"))
    third = die(group="b")

    assert listed(bus) == [third, second, first]
    assert listed(bus, "order.created") == [third, first]
    assert listed(bus, group="a") == [second, first]
    assert listed(bus, error_type="ValueError") == [second]
    assert listed(bus, "order.paid", group="b") == []
    letter = bus.dead_letters(error_type="ValueError").items[0]
    assert (letter.group, letter.type, letter.error_message, letter.status) == ("a", "order.paid", "bad", "open")
    assert (letter.resolved_at, letter.note, letter.attempts, letter.deaths) == (None, None, 1, 0)
    assert letter.failed_at.tzinfo is not None


def test_pages_follow_each_other(bus: EventBus, die: Die) -> None:
    """Every letter is on exactly one page, and the last page says that it is."""
    letters = [die() for _ in range(5)]
    pages, cursor = [], None

    while True:
        page = bus.dead_letters(limit=2, cursor=cursor)
        pages.append([letter.id for letter in page.items])
        if (cursor := page.next) is None:
            break

    assert pages == [[letters[4], letters[3]], [letters[2], letters[1]], [letters[0]]]
    assert bus.dead_letters(limit=5).next is None


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({"type": "order.*"}, [0, 1, 2]),
        ({"type": "#"}, [0, 1, 2, 3]),
        ({"type": "*.seen", "group": "a"}, [3]),
        ({"type": "nothing.*"}, []),
        ({"error": "bad"}, [1]),
        ({"error": "BAD"}, []),
        ({"since": "1h ago"}, [1, 2, 3]),
        ({"until": "1h ago"}, [0]),
        ({"since": "3h ago", "until": "1h ago", "type": "order.#"}, [0]),
        ({"correlation_id": "c"}, [3]),
        ({"correlation_id": "c", "type": "order.*"}, []),
    ],
)
def test_all_that_is_given_must_hold(
    options: dict[str, Any], chosen: list[int], bus: EventBus, die: Die, rows: Rows
) -> None:
    """Patterns, texts, times and stories narrow the list, and what is counted and changed, alike."""
    letters = [die(), die("order.paid", error=ValueError("a bad one")), die("order.sent"), die("user.seen")]
    rows.all("UPDATE eventbus.dead_letter SET failed_at = now() - interval '2 h' WHERE id = %s", letters[0])
    rows.all(
        "UPDATE eventbus.event_log SET metadata = '{\"correlation_id\": \"c\"}' WHERE type = 'user.seen'",
    )

    wanted = [letters[index] for index in chosen]
    frozen = bus.freeze_dead_letters(**{**options, "group": "a"})
    count = bus.discard_dead_letters(group="a", reason="because", frozen=frozen)

    assert listed(bus, **options, status=None) == wanted[::-1]
    assert (list(frozen.ids), count) == (wanted, len(wanted))
    assert sorted(listed(bus, status="discarded")) == wanted


def test_what_is_restored_while_somebody_thinks_is_not_meant(bus: EventBus, die: Die) -> None:
    """Exactly those that were counted are changed, and nothing older either."""
    old, new = die(), die()
    bus.discard_dead_letters(group="a", ids=[old], reason="x")
    frozen = bus.freeze_dead_letters(group="a")
    bus.restore_dead_letters([old])

    count = bus.retry_dead_letters(group="a", frozen=frozen)

    assert (frozen.ids, count) == ((new,), 1)
    assert listed(bus) == [old]


def test_what_is_asked_for_is_fixed_to_the_moment_and_the_letter(bus: EventBus, die: Die) -> None:
    """A span is kept as the time that it meant, a last id includes itself, and what changes nothing is kept as such."""
    first, second = die(), die()

    frozen = bus.freeze_dead_letters(group="a", since="1h", last_id=first)
    none = bus.retry_dead_letters(group="a", ids=[second + 1])
    count = bus.retry_dead_letters(group="a", frozen=frozen)
    bus.discard_dead_letters(group="a", reason="x")
    restored = bus.restore_dead_letters([second, second])

    assert (frozen.ids, none, count, restored) == ((first,), 0, 1, 1)
    assert isinstance(frozen.sought.since, datetime)
    asked = [(entry.action, entry.asked, entry.changed) for entry in bus.audit()][::-1]
    assert asked == [("dead retry", 0, 0), ("dead retry", 1, 1), ("dead discard", 1, 1), ("dead restore", 1, 1)]
    assert bus.audit()[2].filter["since"] == str(frozen.sought.since)


def test_a_letter_has_the_runs_of_its_own_group(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Another group that fails with the same event in between keeps its own."""
    event = bus.publish("order.created", {}, source="orders")
    policy = RetryPolicy(max_retries=1)
    for group in "aba":
        rows.all("UPDATE eventbus.delivery SET due_at = now()")
        claimed = execution.take(group, event.id, task_id=None)
        assert claimed is not None
        settlement.settle_failed(bus.database, claimed, KeyError(group), policy=policy, worker="worker-1")

    [letter] = bus.dead_letters().items
    details = bus.event_details(event.id)

    assert [run.number for run in bus.dead_letter(letter.id).attempts] == [1, 2]
    assert [(run.group, run.dead_letter_id) for run in details.failings] == [
        ("a", letter.id),
        ("b", None),
        ("a", letter.id),
    ]


def test_what_is_stopped_is_stopped_between_batches(bus: EventBus, die: Die, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever watches is told of each batch; the audit says how many were changed, and that it was interrupted."""
    monkeypatch.setattr(resolving, "_BATCH", 2)
    letters = [die() for _ in range(5)]
    frozen, stop = bus.freeze_dead_letters(group="a"), threading.Event()
    told: list[tuple[int, int, int]] = []

    def watch(progress: resolving.Progress) -> None:
        told.append((progress.seen, progress.changed, progress.total))
        if progress.seen == 4:
            stop.set()

    left = bus.resolving.discard(frozen, reason="x", watch=watch, stop=stop)

    assert told == [(2, 2, 5), (4, 4, 5)]
    assert (left.changed, left.is_complete) == (4, False)
    assert listed(bus) == letters[4:]
    assert [(entry.asked, entry.changed, entry.result) for entry in bus.audit()] == [(5, 4, "interrupted")]


def test_a_letter_is_shown_with_its_event_and_attempts(bus: EventBus, die: Die) -> None:
    """All that is needed to find the fault."""
    id = die()

    found = bus.dead_letter(id)

    assert found.letter.id == id
    assert found.event.id == found.letter.event_id
    assert found.event.data == {"id": 1}
    assert "KeyError: 'sku'" in found.letter.traceback
    assert [(item.kind, item.number, item.error_type, item.error_message, item.worker) for item in found.attempts] == [
        ("error", 1, "KeyError", "'sku'", "worker-1")
    ]
    assert found.attempts[0].failed_at.tzinfo is not None


@pytest.mark.parametrize("id", [0, -1, 999, 2**70])
def test_a_letter_that_does_not_exist_is_named(bus: EventBus, id: int) -> None:
    """One clear sentence."""
    with pytest.raises(UnknownDeadLetter, match=f"dead letter {id} does not exist"):
        bus.dead_letter(id)


def test_a_retried_delivery_is_as_if_new(
    bus: EventBus, die: Die, rows: Rows, execution: SingleRuns, messages: Messages
) -> None:
    """Its counts begin again, its group is woken, and its letter stays as history."""
    id = die()
    rows.all("UPDATE eventbus.delivery SET deaths = 3, suspect = true WHERE state = 'dead'")
    bus.note_dead_letter(id, "Ann looks after it")
    woken = len(messages("a"))

    count = bus.retry_dead_letters(group="a")

    row = rows.delivery(bus.dead_letter(id).event.id, "a")
    letter = bus.dead_letter(id).letter
    assert count == 1
    assert (row["state"], row["attempts"], row["deaths"], row["suspect"]) == ("pending", 0, 0, False)
    assert (row["finished_at"], row["last_error"]) == (None, None)
    assert (letter.status, letter.resolved_at is not None, letter.note) == ("retried", True, "Ann looks after it")
    assert listed(bus) == []
    assert listed(bus, status=None) == listed(bus, status="retried") == [id]
    assert len(messages("a")) == woken + 1
    assert messages("a")[-1]["headers"]["argsrepr"] == f"order.created {letter.event_id}"
    assert execution.take("a", letter.event_id, task_id=None) is not None


def test_a_discarded_delivery_is_cancelled_for_a_reason(bus: EventBus, die: Die, rows: Rows) -> None:
    """The reason is kept; the letter stays."""
    id = die()

    count = bus.discard_dead_letters(group="a", reason="test order")

    letter = bus.dead_letter(id).letter
    assert count == 1
    assert rows.delivery(letter.event_id, "a")["state"] == "cancelled"
    assert (letter.status, letter.note) == ("discarded", "test order")
    assert (bus.retry_dead_letters(group="a"), bus.discard_dead_letters(group="a", reason="again")) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "options", "chosen"),
    [
        ([], {"group": "a"}, [0, 1, 2]),
        (["order.created"], {"group": "a"}, [0, 2]),
        ([], {"group": "a", "error_type": "ValueError"}, [1, 2]),
        (["order.created"], {"group": "a", "error_type": "ValueError"}, [2]),
        ([], {"group": "b"}, [3]),
        ([], {"group": "a", "ids": [0, 3, 1]}, [0, 1]),
        ([], {"group": "a", "ids": ()}, []),
    ],
)
@pytest.mark.parametrize("way", ["retry", "discard"])
def test_only_what_is_asked_for_is_resolved(
    way: str, arguments: list[str], options: dict[str, Any], chosen: list[int], bus: EventBus, die: Die
) -> None:
    """By type and group, by id, by error type; the count is returned."""
    letters = [
        die(),
        die("order.paid", error=ValueError("bad")),
        die(error=ValueError("bad")),
        die(group="b"),
    ]
    if "ids" in options:
        options = {**options, "ids": [letters[index] for index in options["ids"]]}

    if way == "retry":
        count = bus.retry_dead_letters(*arguments, **options)
    else:
        count = bus.discard_dead_letters(*arguments, **options, reason="because")

    status = "retried" if way == "retry" else "discarded"
    assert count == len(chosen)
    assert sorted(listed(bus, status=status)) == [letters[index] for index in chosen]


@pytest.mark.parametrize("ways", [("retry", "retry"), ("discard", "discard"), ("retry", "discard")])
def test_two_operators_at_once_touch_each_letter_once(
    ways: tuple[str, str], bus: EventBus, die: Die, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their counts add up to what there was."""
    monkeypatch.setattr(resolving, "_BATCH", 3)
    for _ in range(20):
        die()
    barrier, counts = threading.Barrier(2), []

    def operate(way: str) -> None:
        barrier.wait()
        if way == "retry":
            counts.append(bus.retry_dead_letters(group="a"))
        else:
            counts.append(bus.discard_dead_letters(group="a", reason="because"))

    threads = [threading.Thread(target=operate, args=(way,)) for way in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    left = len(listed(bus, status="open"))
    assert sum(counts) + left == 20
    assert len(listed(bus, status=None)) == 20


def test_a_letter_that_another_is_resolving_is_left_to_him(bus: EventBus, die: Die, rows: Rows) -> None:
    """Nobody waits for long, and nobody resolves it twice; it is said that it is open still."""
    held, free = die(), die()
    # Whoever waits fails, rather than hangs.
    rows.all(f"ALTER DATABASE {rows.value('SELECT current_database()')} SET lock_timeout = '2s'")
    bus.database.dispose()

    with rows.transaction() as other:
        other.execute("SELECT FROM eventbus.dead_letter WHERE id = %s FOR UPDATE", (held,))
        progress = bus.resolving.retry(bus.freeze_dead_letters(group="a"))

    assert (progress.changed, progress.left) == (1, 1)
    assert listed(bus) == [held]
    assert bus.dead_letter(free).letter.status == "retried"


def test_a_letter_of_nobody_stays_open(bus: EventBus, die: Die, run_here: Run, environment: object) -> None:
    """Its delivery would be cancelled by the next sweep, and the letter be gone: retried, by nobody."""
    id = die()
    bus.remove_group("a")

    done = run_here("dead", "retry", "--group", "a", "--yes")

    assert (done.returncode, done.stdout) == (1, "0 dead letters retried.\n")
    assert "1 of them are open still: no subscription of a takes their types now" in done.stderr
    assert listed(bus) == [id]


def test_a_letter_is_retried_by_whoever_takes_its_type_now(
    make_bus: MakeBus, die: Die, worker: MakeWorker, rows: Rows
) -> None:
    """Its subscription was replaced by another one of the group."""
    id = die()
    new, seen = make_bus(), []
    new.subscribe("order.*", group="a", handler=lambda event: seen.append(event.id))
    new.sync(replace=True)

    assert new.retry_dead_letters(group="a") == 1
    execution = worker(new)
    claimed = execution.take("a")
    assert claimed is not None
    execution.run(claimed)

    assert seen == [new.dead_letter(id).event.id]
    assert rows.delivery(seen[0], "a")["state"] == "done"


def test_a_letter_that_is_held_for_a_moment_is_resolved_all_the_same(bus: EventBus, die: Die, rows: Rows) -> None:
    """As by a replay that leaves it dead, or by somebody who writes a note."""
    id = die()
    with rows.transaction() as other:
        other.execute("UPDATE eventbus.dead_letter SET note = 'mine' WHERE id = %s", (id,))
        release = threading.Timer(0.1, other.connection.commit)
        release.start()
        count = bus.retry_dead_letters(group="a")
        release.join()

    assert (count, listed(bus)) == (1, [])


def test_a_letter_that_somebody_else_resolves_meanwhile_is_not_left(bus: EventBus, die: Die, rows: Rows) -> None:
    """It is said to be open only if it is."""
    id = die()
    with rows.transaction() as other:
        other.execute(
            "UPDATE eventbus.dead_letter SET status = 'discarded', resolved_at = now(), note = 'x' WHERE id = %s", (id,)
        )
        release = threading.Timer(0.3, other.connection.commit)
        release.start()
        progress = bus.resolving.retry(bus.freeze_dead_letters(group="a"))
        release.join()

    assert (progress.changed, progress.left) == (0, 0)


def test_a_discarded_letter_whose_delivery_was_replayed_is_not_restored(bus: EventBus, die: Die, rows: Rows) -> None:
    """It counts as retried, and says still why it was discarded."""
    id = die()
    bus.discard_dead_letters(group="a", reason="a test order")
    bus.replay("#", group="a", include_dead=True)
    bus.remove_group("a")

    assert bus.restore_dead_letters([id]) == 0
    letter = bus.dead_letter(id).letter
    assert (letter.status, letter.note) == ("retried", "a test order")
    assert rows.delivery(letter.event_id, "a")["state"] == "cancelled"


def test_what_was_discarded_is_told_though_its_cause_cannot_be_settled_now(
    bus: EventBus, die: Die, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Housekeeping settles it: an error would hide that all is done."""
    die()

    def busy(_database: object) -> None:
        raise DatabaseBusy("busy")

    monkeypatch.setattr(fingerprinting, "settle", busy)

    assert bus.discard_dead_letters(group="a", reason="a test order") == 1


def test_what_was_cancelled_after_a_retry_is_not_restored(bus: EventBus, die: Die, rows: Rows) -> None:
    """The group has unsubscribed from it: its letter was never discarded."""
    id = die()
    bus.retry_dead_letters(group="a")
    bus.remove_group("a")

    assert bus.restore_dead_letters([id]) == 0
    assert bus.dead_letter(id).letter.status == "retried"
    assert rows.delivery(bus.dead_letter(id).event.id, "a")["state"] == "cancelled"


def test_a_letter_is_restored_whatever_another_group_made_of_the_event(
    bus: EventBus, die: Die, execution: SingleRuns, rows: Rows
) -> None:
    """Only a newer letter of the same delivery would say that it was tried since."""
    id = die()
    bus.discard_dead_letters(group="a", reason="test order")
    claimed = execution.take("b", bus.dead_letter(id).event.id, task_id=None)
    assert claimed is not None
    settlement.settle_failed(bus.database, claimed, KeyError("sku"), policy=ONCE, worker="worker-1")

    assert bus.restore_dead_letters([id]) == 1
    assert sorted(letter.group for letter in bus.dead_letters().items) == ["a", "b"]


def test_many_letters_are_resolved_in_batches(bus: EventBus, die: Die, monkeypatch: pytest.MonkeyPatch) -> None:
    """No transaction grows with their number, and none is left out between two."""
    monkeypatch.setattr(resolving, "_BATCH", 2)
    for _ in range(5):
        die()

    assert bus.retry_dead_letters(group="a") == 5


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda bus: bus.dead_letters(group="nobody"), UnknownGroup),
        (lambda bus: bus.retry_dead_letters(group="nobody"), UnknownGroup),
        (lambda bus: bus.discard_dead_letters(group="nobody", reason="x"), UnknownGroup),
        (lambda bus: bus.retry_dead_letters(group="No Group"), InvalidGroup),
        (lambda bus: bus.retry_dead_letters("order created", group="a"), InvalidEventType),
        (lambda bus: bus.dead_letters(status="lost"), InvalidInput),
        (lambda bus: bus.dead_letters(limit=0), InvalidInput),
        (lambda bus: bus.dead_letters(limit=1001), InvalidInput),
        (lambda bus: bus.dead_letters(limit="many"), InvalidInput),
        (lambda bus: bus.dead_letters(cursor="x"), InvalidInput),
        (lambda bus: bus.dead_letters(error_type="a\x00b"), InvalidInput),
        (lambda bus: bus.dead_letters(error="a\x00b"), InvalidInput),
        (lambda bus: bus.dead_letters(correlation_id=7), InvalidInput),
        (lambda bus: bus.dead_letters("order.#.x"), InvalidInput),
        (lambda bus: bus.dead_letters(since="yesterday"), InvalidInput),
        (lambda bus: bus.dead_letters(since="1h", until="2h"), InvalidInput),
        (lambda bus: bus.dead_letter("x"), InvalidInput),
        (lambda bus: bus.note_dead_letter(1, " "), InvalidInput),
        (lambda bus: bus.retry_dead_letters(group="a", ids=["x"]), InvalidInput),
        (lambda bus: bus.discard_dead_letters(group="a", reason=" "), InvalidInput),
        (lambda bus: bus.discard_dead_letters(group="a", reason="\x00"), InvalidInput),
        (lambda bus: bus.discard_dead_letters(group="a", reason=None), InvalidInput),
    ],
)
def test_a_question_that_cannot_be_answered_changes_nothing(
    call: Callable[[EventBus], Any], error: type[Exception], bus: EventBus, die: Die
) -> None:
    """A typing error must not look like an empty list."""
    die()

    with pytest.raises(error) as caught:
        call(bus)

    assert "\n" not in str(caught.value)
    assert len(listed(bus)) == 1


def test_the_wake_up_follows_the_commit(bus: EventBus, die: Die, rows: Rows, messages: Messages) -> None:
    """Whoever is woken finds the delivery due; without a broker it is retried all the same."""
    die()
    seen: list[str] = []
    real = bus.waking

    class Watching:
        """The real waking, and what the database says at that moment."""

        def send(self, wake_ups: Any) -> bool:
            seen.append(rows.value("SELECT state FROM eventbus.delivery WHERE group_name = 'a'"))
            return real.send(wake_ups)

    found = resolving.Resolving(database=bus.database, waking=Watching(), settings=bus.settings)  # type: ignore[arg-type]
    found.retry(found.freeze(Sought(group="a")))

    assert seen == ["pending"]
