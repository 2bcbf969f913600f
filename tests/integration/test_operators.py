"""Operators: dead letters resolved, groups replaced and removed, each exactly as said and by one of two at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventbus import EventBus
from eventbus.errors import InvalidInput, SubscriptionConflict, UnknownDeadLetter, UnknownGroup
from eventbus.lifecycle import registration
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns


def refuse(event: object) -> None:
    raise KeyError("sku")


def other(event: object) -> None: ...


@pytest.fixture
def execution(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker of group ``a``, whose handler fails and is never retried."""
    bus.subscribe("#", group="a", handler=refuse, max_retries=0)
    return worker()


def bury(bus: EventBus, execution: SingleRuns, count: int, type: str = "order.created") -> None:
    """Publish *count* events and let each become a dead letter."""
    for number in range(count):
        bus.publish(type, {"number": number}, source="orders")
        claimed = execution.take("a", None, task_id=None)
        assert claimed is not None
        error = execution.run(claimed)
        assert isinstance(error, BaseException)
        execution.fail(claimed, error)


def test_a_discarded_dead_letter_keeps_its_reason(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Discarding cancels the delivery and says why."""
    bury(bus, execution, 2)

    count = bus.discard_dead_letters(group="a", reason="a test order")

    assert count == 2
    assert rows.all("SELECT DISTINCT state FROM eventbus.delivery") == [("cancelled",)]
    assert rows.all("SELECT DISTINCT status, note FROM eventbus.dead_letter") == [("discarded", "a test order")]


def test_a_discard_without_a_reason_is_refused(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Nothing is given up silently."""
    bury(bus, execution, 1)

    with pytest.raises(InvalidInput, match="say why"):
        bus.discard_dead_letters(group="a", reason="  ")

    assert rows.all("SELECT status FROM eventbus.dead_letter") == [("open",)]


def test_a_retried_dead_letter_runs_as_if_new(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Its attempts start again, and a second failure is a second letter with attempts of its own."""
    bury(bus, execution, 1)

    count = bus.retry_dead_letters("order.created", group="a")
    before = rows.one("SELECT state, attempts, finished_at FROM eventbus.delivery")
    claimed = execution.take("a", None, task_id=None)
    assert claimed is not None
    execution.fail(claimed, ValueError("again"))

    letters = bus.dead_letters(group="a", status=None).items
    assert (count, before) == (1, ("pending", 0, None))
    assert [(letter.status, letter.error_type) for letter in letters] == [
        ("open", "ValueError"),
        ("retried", "KeyError"),
    ]
    assert [len(bus.dead_letter(letter.id).attempts) for letter in letters] == [1, 1]


def test_two_operators_touch_each_dead_letter_once(bus: EventBus, execution: SingleRuns, rows: Rows) -> None:
    """Of a retry and a discard at the same moment, one resolves a letter."""
    bury(bus, execution, 12)

    with ThreadPoolExecutor(2) as operators:
        retried = operators.submit(bus.retry_dead_letters, group="a")
        discarded = operators.submit(bus.discard_dead_letters, group="a", reason="noise")

    assert retried.result() + discarded.result() == 12
    counts = dict(rows.all("SELECT status, count(*) FROM eventbus.dead_letter GROUP BY 1"))
    assert counts.get("retried", 0) == retried.result()
    assert counts.get("discarded", 0) == discarded.result()


def test_only_what_is_named_is_resolved(bus: EventBus, execution: SingleRuns) -> None:
    """By id, by type and by error type."""
    bury(bus, execution, 2)
    bury(bus, execution, 1, type="order.paid")
    newest, _, oldest = bus.dead_letters(group="a").items

    by_type = bus.retry_dead_letters("order.paid", group="a")
    by_id = bus.retry_dead_letters(group="a", ids=[oldest.id])
    by_other_error = bus.retry_dead_letters(group="a", error_type="ValueError")

    assert newest.type == "order.paid"
    assert (by_type, by_id, by_other_error) == (1, 1, 0)
    assert len(bus.dead_letters(group="a", error_type="KeyError").items) == 1


def test_pages_lead_from_the_newest_to_the_oldest(bus: EventBus, execution: SingleRuns) -> None:
    """Each letter stands on one page."""
    bury(bus, execution, 5)

    first = bus.dead_letters(limit=3)
    second = bus.dead_letters(limit=3, cursor=first.next)

    ids = [letter.id for page in (first, second) for letter in page.items]
    assert ids == sorted(ids, reverse=True)
    assert (len(ids), second.next) == (5, None)


def test_what_cannot_be_listed_is_named(bus: EventBus, execution: SingleRuns) -> None:
    """A wrong status, limit, group or id is one sentence."""
    with pytest.raises(InvalidInput, match="status='closed'"):
        bus.dead_letters(status="closed")
    with pytest.raises(InvalidInput, match="limit=0"):
        bus.dead_letters(limit=0)
    with pytest.raises(UnknownGroup, match="known groups are a"):
        bus.dead_letters(group="b")
    with pytest.raises(UnknownDeadLetter, match="dead letter 99"):
        bus.dead_letter(99)


def test_many_are_resolved_in_batches(
    bus: EventBus, execution: SingleRuns, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    """However many there are, none is left and none is touched twice."""
    bury(bus, execution, 5)
    monkeypatch.setattr("eventbus.lifecycle.resolving._BATCH", 2)

    count = bus.retry_dead_letters(group="a")

    assert count == 5
    assert rows.all("SELECT DISTINCT status FROM eventbus.dead_letter") == [("retried",)]


def test_a_pattern_is_replaced_only_when_asked(bus: EventBus, make_bus: MakeBus, rows: Rows) -> None:
    """Two codebases that could claim one event are told so; --replace hands the open deliveries over."""
    bus.subscribe("order.created", group="a", handler=refuse)
    bus.sync()
    event = bus.publish("order.created", 1, source="orders")
    newer = make_bus()
    newer.subscribe("order.*", group="a", handler=other)

    with pytest.raises(SubscriptionConflict, match="sync --replace"):
        newer.sync()
    stored = newer.sync(replace=True)

    [subscription] = stored
    assert (subscription.pattern, subscription.handler.rpartition(".")[2]) == ("order.*", "other")
    assert rows.delivery(event.id, "a")["subscription_id"] == subscription.id


def test_a_moved_handler_is_replaced_in_place(bus: EventBus, make_bus: MakeBus) -> None:
    """The same pattern keeps its row."""
    bus.subscribe("order.created", group="a", handler=refuse)
    [before] = bus.sync()
    newer = make_bus()
    newer.subscribe("order.created", group="a", handler=other)

    [after] = newer.sync(replace=True)

    assert (after.id, after.handler == before.handler) == (before.id, False)


def test_removing_a_group_cancels_what_is_open(
    bus: EventBus, execution: SingleRuns, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    """All of it, in batches; what is published next is owed to nobody, until it subscribes again."""
    for number in range(5):
        bus.publish("order.created", number, source="orders")
    monkeypatch.setattr(registration, "_CANCEL_BATCH", 2)

    shown = bus.open_deliveries("a")
    cancelled = bus.remove_group("a")
    bus.publish("order.created", 6, source="orders")

    assert (shown, cancelled) == (5, 5)
    assert rows.all("SELECT state, count(*) FROM eventbus.delivery GROUP BY 1") == [("cancelled", 5)]
    with pytest.raises(UnknownGroup):
        bus.remove_group("a")
    assert [item.group for item in bus.sync()] == ["a"]


def test_a_removal_that_is_stopped_leaves_the_rest_to_relays(
    bus: EventBus, execution: SingleRuns, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    """Between two batches; the group is unsubscribed all the same, and the audit says how many were cancelled."""
    for number in range(5):
        bus.publish("order.created", number, source="orders")
    monkeypatch.setattr(registration, "_CANCEL_BATCH", 2)
    stop, told = threading.Event(), []

    def watch(cancelled: int) -> None:
        told.append(cancelled)
        stop.set()

    cancelled = bus.remove_group("a", watch=watch, stop=stop)
    entry = bus.audit()[0]
    bus.sweep()

    assert (cancelled, told) == (2, [2])
    assert (entry.action, entry.asked, entry.changed, entry.result) == ("groups remove", 5, 2, "interrupted")
    assert rows.all("SELECT state, count(*) FROM eventbus.delivery GROUP BY 1") == [("cancelled", 5)]


def test_one_pattern_of_a_group_can_be_removed(bus: EventBus) -> None:
    """The others stay; one that is not there is named."""
    bus.subscribe("order.created", group="a", handler=refuse)
    bus.subscribe("order.paid", group="a", handler=other)
    bus.sync()

    bus.remove_group("a", pattern="order.paid")

    assert [item.pattern for item in bus.groups()] == ["order.created"]
    with pytest.raises(UnknownGroup, match=r"order\.paid"):
        bus.remove_group("a", pattern="order.paid")
