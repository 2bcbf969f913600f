"""Looking for events, groups and stories: what is asked for is found, page by page, and what is redacted is not shown."""

import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pexpect
import pytest

from eventbus import Event, EventBus
from eventbus.errors import InvalidInput, UnknownEvent, UnknownGroup
from eventbus.failure import from_summary
from eventbus.lifecycle.auditing import acting_as, whoami
from eventbus.operations import showing
from eventbus.redaction import conceal, secrets_of
from eventbus.storage import workers
from eventbus.storage.overview import events as event_views
from eventbus.storage.workers import Worker
from tests.integration.conftest import MakeBus, MakeWorker, Run
from tests.support.rows import Rows
from tests.support.workers import ROOT


@pytest.fixture
def shop(bus: EventBus) -> EventBus:
    """Two groups: stock for orders, search for everything."""
    bus.subscribe("order.*", group="stock", handler=lambda event: None)
    bus.subscribe("#", group="search", handler=lambda event: None)
    bus.sync()
    return bus


@pytest.fixture
def published(shop: EventBus) -> list[Event]:
    """Six events, oldest first."""
    types = ("order.created", "order.paid", "user.seen", "order.created", "order.shipped", "order.created")
    return [
        shop.publish(
            type, {"number": number, "customer": {"id": number % 2}}, source="tests", correlation_id=f"c{number % 3}"
        )
        for number, type in enumerate(types)
    ]


def numbers(items: tuple[Event, ...]) -> list[int]:
    """Which of the published events these are."""
    return [event.data["number"] for event in items]


@pytest.mark.parametrize(
    ("sought", "expected"),
    [
        ({}, [5, 4, 3, 2, 1, 0]),
        ({"pattern": "#"}, [5, 4, 3, 2, 1, 0]),
        ({"pattern": "order.created"}, [5, 3, 0]),
        ({"pattern": "order.*"}, [5, 4, 3, 1, 0]),
        ({"pattern": "nothing.*"}, []),
        ({"correlation_id": "c1"}, [4, 1]),
        ({"correlation_id": "c0", "pattern": "order.*"}, [3, 0]),
        ({"correlation_id": "c2", "pattern": "order.created"}, [5]),
        ({"group": "stock"}, [5, 4, 3, 1, 0]),
        ({"group": "stock", "state": "dead"}, [3]),
        ({"state": "dead"}, [3]),
        ({"error": "refused"}, [3]),
        ({"error": "accepted"}, []),
        ({"pattern": "order.*", "state": "dead"}, [3]),
        ({"pattern": "order.created", "since": "1h", "data": {"customer.id": "1"}}, [5, 3]),
        ({"pattern": "order.created", "since": "1h", "data": {"customer.id": "1", "number": "3"}}, [3]),
        ({"pattern": "order.created", "since": "1h", "data": {f"of.eight.{number}": "1" for number in range(8)}}, []),
        ({"until": "1h"}, []),
    ],
)
def test_all_that_is_given_must_hold(
    shop: EventBus, published: list[Event], rows: Rows, sought: dict[str, Any], expected: list[int]
) -> None:
    """By whichever index the events are found."""
    rows.all(
        "UPDATE eventbus.delivery SET state = 'dead', finished_at = now(), last_error = 'Oops: refused' "
        "WHERE group_name = 'stock' AND event_id = %s",
        str(published[3].id),
    )

    assert numbers(shop.events(**sought).items) == expected


@pytest.mark.parametrize("sought", [{}, {"pattern": "order.#"}, {"group": "search", "pattern": "order.*"}])
def test_pages_follow_each_other(shop: EventBus, published: list[Event], sought: dict[str, Any]) -> None:
    """Each event is on one of them, and the last says so."""
    whole = numbers(shop.events(**sought).items)
    found: list[int] = []
    cursor: UUID | None = None
    while True:
        page = shop.events(**sought, cursor=cursor, limit=2)
        found += numbers(page.items)
        assert page.looked_at is None
        if page.next is None:
            break
        cursor = page.next

    assert found == whole


def test_a_page_says_how_far_it_looked(
    shop: EventBus, published: list[Event], monkeypatch: pytest.MonkeyPatch, run_here: Run, environment: object
) -> None:
    """Events that are not wanted are looked at up to a limit; the next page goes on there."""
    monkeypatch.setattr(event_views, "MOST_READ", 2)
    wanted = ("events", "list", "order.created", "--since", "1h", "--where", "data.number=0")

    first = run_here(*wanted)
    cursor = first.stderr.split("--cursor ")[1].strip()
    second = run_here(*wanted, "--cursor", cursor, "--json")
    page = shop.events("order.created", since="1h", data={"number": "0"})

    assert cursor == str(page.next)
    assert (page.next, page.looked_until, page.looked_at) == (published[3].id, published[3].created_at, 2)
    assert first.stdout == ""
    assert "looked at 2 events, back to 20" in first.stderr
    assert [json.loads(line)["data"]["number"] for line in second.stdout.splitlines()] == [0]


@pytest.mark.parametrize(
    ("sought", "says"),
    [
        ({"data": {"a": "1"}}, "give a type and since"),
        ({"data": {"a": "1"}, "pattern": "order.*", "since": "1h"}, "give a type and since"),
        ({"data": {"a": "1"}, "pattern": "order.paid"}, "give a type and since"),
        ({"data": {"": "1"}, "pattern": "order.paid", "since": "1h"}, "is no path"),
        ({"data": {str(n): "1" for n in range(9)}, "pattern": "order.paid", "since": "1h"}, "at most 8 fields"),
        ({"state": "sad"}, "must be one of pending"),
        ({"limit": 0}, "between 1 and 1000"),
        ({"correlation_id": "a\x00"}, "is not a text"),
        ({"since": "1h", "until": "2h"}, "is not before until"),
        ({"pattern": "a..b"}, "is not a pattern"),
        ({"group": "nobody"}, "does not exist"),
    ],
)
def test_what_cannot_be_found_is_refused(shop: EventBus, sought: dict[str, Any], says: str) -> None:
    """In a sentence."""
    with pytest.raises(InvalidInput, match=says):
        shop.events(**sought)


def test_an_event_is_shown_with_its_deliveries(
    run_here: Run, environment: object, published: list[Event], rows: Rows
) -> None:
    """For people and for programs; a parked one is due at no time."""
    event = published[0]
    rows.all("UPDATE eventbus.delivery SET state = 'parked', due_at = 'infinity' WHERE group_name = 'stock'")

    plain = run_here("events", "show", str(event.id))
    found = json.loads(run_here("events", "show", str(event.id), "--json").stdout)

    assert "correlation id c0" in plain.stdout
    assert 'data           {"number": 0' in plain.stdout
    assert found["id"] == str(event.id)
    assert [(item["group"], item["state"], item["due_at"] is None) for item in found["deliveries"]] == [
        ("search", "pending", False),
        ("stock", "parked", True),
    ]
    assert run_here("events", "show", str(uuid4())).returncode == 2


def test_events_are_listed_for_pipes_and_programs(run_here: Run, environment: object, published: list[Event]) -> None:
    """One a line."""
    lines = run_here("events", "list", "--limit", "2")
    objects = run_here("events", "list", "order.paid", "--json").stdout.splitlines()

    assert [line.split("\t")[1] for line in lines.stdout.splitlines()] == ["order.created", "order.shipped"]
    assert lines.stderr == f"more with --cursor {published[4].id}\n"
    assert [json.loads(line)["id"] for line in objects] == [str(published[1].id)]
    assert run_here("events", "list", "--where", "number=1").returncode == 2


def test_redacted_fields_are_shown_nowhere(
    make_bus: MakeBus, run_here: Run, environment: object, monkeypatch: pytest.MonkeyPatch, worker: MakeWorker
) -> None:
    """Not in lists, not in details, not in stories, and nobody may look for their values."""
    monkeypatch.setenv("EVENTBUS_REDACT", "data.customer.email,data.items.*.note,metadata.headers.token")
    bus = make_bus(redact="data.customer.email")
    data = {"customer": {"email": "secret@x"}, "items": [{"note": "secret"}, {"note": "secret", "n": 1}, 3]}
    event = bus.publish("order.paid", data, source="tests", correlation_id="c", headers={"token": "secret", "a": "b"})
    listed = run_here("events", "list", "--json").stdout
    shown = [run_here(*words).stdout for words in (("events", "show", str(event.id)), ("trace", "c", "--json"))]

    assert "secret" not in "".join([listed, *shown])
    assert json.loads(listed)["data"]["items"][1:] == [{"note": "[redacted]", "n": 1}, 3]
    with pytest.raises(InvalidInput, match="is redacted"):
        bus.events("order.paid", since="1h", data={"customer.email": "secret@x"})
    with pytest.raises(InvalidInput, match="is redacted"):
        bus.events("order.paid", since="1h", data={"customer": "x"})


@pytest.mark.parametrize("look", ["events", "dead_letters", "freeze_dead_letters"])
def test_nobody_finds_out_by_looking_what_no_view_shows(make_bus: MakeBus, look: str) -> None:
    """An error may repeat a hidden value, letter by letter; a hidden id is a value too."""
    bus = make_bus(redact="data.card,metadata.correlation_id")
    group = {"group": "stock"} if look == "freeze_dead_letters" else {}

    with pytest.raises(InvalidInput, match="EVENTBUS_REDACT hides"):
        getattr(bus, look)(error="4", **group)
    with pytest.raises(InvalidInput, match="is redacted"):
        getattr(bus, look)(correlation_id="c", **group)


def test_a_hidden_story_is_told_of_its_events(make_bus: MakeBus) -> None:
    """Nobody may ask for it, or replay it, by a guess; whoever holds one of its events is told the others."""
    bus = make_bus(redact="metadata.correlation_id")
    bus.subscribe("#", group="stock", handler=lambda event: None)
    bus.sync()
    published = [bus.publish("order.paid", {}, source="tests", correlation_id="c") for _ in range(2)]
    shown = bus.event_details(published[0].id).event

    told = bus.story_of(shown)

    assert [event.id for event in told.events] == [event.id for event in published]
    assert {event.correlation_id for event in told.events} == {"[redacted]"}
    with pytest.raises(InvalidInput, match="is redacted"):
        bus.story("c")
    with pytest.raises(InvalidInput, match="is redacted"):
        bus.replay(correlation_id="c", group="stock", dry_run=True)
    replay = make_bus().replay(correlation_id="c", group="stock")
    assert replay.id is not None
    assert {job.selection.correlation_id for job in (*bus.replays(), bus.find_replay(replay.id))} == {"[redacted]"}


def test_metadata_may_be_hidden_as_a_whole(make_bus: MakeBus) -> None:
    """Then an event has no headers and no cause to show."""
    bus = make_bus(redact="metadata.headers,metadata.causation_id")
    published = bus.publish("order.paid", {}, source="tests", headers={"a": "b"})

    shown = bus.event_details(published.id).event

    assert (dict(shown.headers), shown.causation_id) == ({}, None)


def test_the_errors_of_handlers_hide_what_is_redacted(
    bus: EventBus, run_here: Run, environment: object, monkeypatch: pytest.MonkeyPatch, worker: MakeWorker, rows: Rows
) -> None:
    """In messages and tracebacks, in every view, also in notes; what is stored, and what handlers get, stays."""
    monkeypatch.setenv("EVENTBUS_REDACT", "data.card")

    def refuse(event: Event) -> None:
        raise ValueError(f"no such card: {event.data['card']}")

    bus.subscribe("order.paid", group="stock", handler=refuse, max_retries=0)
    stock = worker()
    event = bus.publish("order.paid", {"card": "Lovelace 1234"}, source="tests", correlation_id="c")
    claimed = stock.take("stock")
    assert claimed is not None
    error = stock.run(claimed)
    assert isinstance(error, ValueError)
    stock.fail(claimed, error)
    letter = str(rows.value("SELECT id FROM eventbus.dead_letter"))
    assert run_here("dead", "note", letter, "asked the owner of Lovelace 1234").returncode == 0
    views = [
        ("dead", "list"),
        ("dead", "fingerprints"),
        ("dead", "show", letter),
        ("events", "show", str(event.id)),
        ("trace", "c"),
        ("why", str(event.id), "stock"),
    ]
    outputs = {(*words, *form): run_here(*words, *form).stdout for words in views for form in ((), ("--json",))}

    assert {words for words, output in outputs.items() if "Lovelace" in output} == set()
    assert {words for words, output in outputs.items() if "no such card: [redacted]" not in output} == set()
    assert "ValueError: no such card: [redacted]" in outputs["dead", "show", letter]
    assert "asked the owner of [redacted]" in outputs["dead", "show", letter]
    assert "Lovelace" in rows.value("SELECT error_message || traceback FROM eventbus.dead_letter")
    bus.discard_dead_letters(group="stock", reason="Lovelace 1234 is stolen")
    assert "its dead letter 1 was discarded: [redacted] is stolen" in run_here("why", str(event.id), "stock").stdout
    assert run_here("dead", "list").stdout == ""


@pytest.mark.parametrize(
    "card", ["Lovelace 12\nMain Street", f"{'x' * 450} Lovelace {'1234' * 20}"], ids=["of two lines", "beyond the end"]
)
def test_why_hides_what_an_error_has_the_beginning_of(
    make_bus: MakeBus, worker: MakeWorker, rows: Rows, card: str
) -> None:
    """It is kept on one line of a limited length; here that ends in the midst of a sentence, and of a traceback."""
    bus = make_bus(redact="data.card")

    def refuse(event: Event) -> None:
        raise ValueError(f"no such card: {event.data['card']}")

    bus.subscribe("order.paid", group="stock", handler=refuse)
    stock = worker(bus)
    event = bus.publish("order.paid", {"card": card}, source="tests")
    claimed = stock.take("stock")
    assert claimed is not None
    error = stock.run(claimed)
    assert isinstance(error, ValueError)
    stock.fail(claimed, error)
    # Whatever it is that it waits for.
    rows.all("UPDATE eventbus.delivery SET due_at = now() + interval '1 h'")
    rows.all(
        "INSERT INTO eventbus.worker (id, name, host, pid, pool, concurrency, version, groups)"
        " VALUES (gen_random_uuid(), 'w', 'h', 1, 'prefork', 1, '1', '{stock}')"
    )

    found = bus.explain(event.id, "stock")

    assert found.reason == "retrying"
    assert "run 1 failed (ValueError: no such card: [redacted]); it runs again at" in found.sentence
    kept = rows.value("SELECT last_error FROM eventbus.delivery")
    assert "Lovelace" in kept
    told = conceal(from_summary(kept).traceback, secrets_of(event, ["data.card"]))
    assert told.splitlines()[0] == "ValueError: no such card: [redacted]"


def test_the_note_of_a_cause_hides_what_any_of_its_letters_has(
    make_bus: MakeBus, worker: MakeWorker, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of those that were there when it was written; nothing of it is shown where they are too many, or not there any more."""
    bus = make_bus(redact="data.card")

    def refuse(event: Event) -> None:
        raise ValueError("refused")

    bus.subscribe("order.paid", group="stock", handler=refuse, max_retries=0)
    stock = worker(bus)

    def die(card: str) -> None:
        bus.publish("order.paid", {"card": card}, source="tests")
        claimed = stock.take("stock")
        assert claimed is not None
        error = stock.run(claimed)
        assert isinstance(error, ValueError)
        stock.fail(claimed, error)

    def note() -> str | None:
        [cause] = bus.fingerprints().items
        return cause.note

    die("Lovelace 1234")
    bus.acknowledge_fingerprint(rows.value("SELECT fingerprint FROM eventbus.fingerprint"), note="Lovelace 1234 called")
    assert note() == "[redacted] called"
    die("Babbage 5678")
    assert note() == "[redacted] called"
    monkeypatch.setattr(showing, "_MOST_LETTERS", 1)
    assert note() == "[redacted]"
    monkeypatch.undo()
    rows.all("DELETE FROM eventbus.dead_letter WHERE id = 1")
    assert note() == "[redacted]"


def test_why_there_is_no_delivery_hides_nothing(make_bus: MakeBus) -> None:
    """There is no error to hide anything in."""
    bus = make_bus(redact="data.card")
    event = bus.publish("order.paid", {"card": "Lovelace 1234"}, source="tests")
    bus.subscribe("order.paid", group="stock", handler=lambda event: None)
    bus.sync()

    found = bus.explain(event.id, "stock")

    assert found.reason == "subscribed later"
    assert found.facts.event.data == {"card": "[redacted]"}


def test_who_paused_a_group_is_told_as_far_as_it_is_known(shop: EventBus, rows: Rows) -> None:
    """Of several pauses the last one that changed something, or was cut short; nobody, where it was done past the bus."""
    for who in ("ann", "ben"):
        with acting_as(who):
            shop.pause_group("stock")
            shop.resume_group("stock")
    with acting_as("cid"):
        shop.pause_group("stock")
    with acting_as("dan"):
        shop.pause_group("stock")
    with acting_as("eve"):
        shop.pause_group("search")
    known = shop.group_details("stock").group
    rows.all("UPDATE eventbus.audit SET changed = NULL, ended_at = NULL, result = 'began' WHERE who = 'cid'")
    cut_short = shop.group_details("stock").group
    shop.resume_group("stock")
    rows.all("UPDATE eventbus.consumer_group SET paused = true")
    by_hand = shop.group_details("stock").group
    rows.all("DELETE FROM eventbus.audit")
    forgotten = shop.group_details("stock").group
    shop.resume_group("stock")
    with acting_as("ann"):
        shop.pause_group("stock")
    rows.all("UPDATE eventbus.consumer_group SET paused = false")
    resumed_by_hand = shop.group_details("stock").group

    assert (resumed_by_hand.paused_by, resumed_by_hand.paused_at) == (None, None)
    assert known.pause.startswith("is paused, by cid, since 20")
    assert cut_short.pause == known.pause
    assert by_hand.pause == forgotten.pause == "is paused"


@pytest.mark.parametrize("oldest", ["pending", "retrying", "running"])
def test_a_group_is_as_late_as_its_oldest_due_delivery(
    shop: EventBus, published: list[Event], rows: Rows, oldest: str
) -> None:
    """Of whichever subscription and state; what waits for its time, or for other code, is not late."""
    stands = (
        "UPDATE eventbus.delivery SET state = %s, due_at = now() - %s::interval, claim = CASE %s WHEN 'running' THEN 7 END "
        "WHERE event_id = %s AND group_name = 'stock' RETURNING due_at"
    )
    ago = ["-1 hour", "2 minutes", "3 minutes", "1 minute"]
    states = ["retrying", oldest, oldest, "pending"]
    orders = [event for event in published if event.type.startswith("order.")]
    due_at = [
        rows.value(stands, state, ago, state, str(event.id))
        for state, ago, event in zip(states, ago, orders, strict=False)
    ]
    rows.all(
        "UPDATE eventbus.delivery SET state = 'parked', due_at = 'infinity' WHERE event_id = %s", str(orders[-1].id)
    )

    group = shop.group_details("stock").group

    assert group.due_since == due_at[2]
    assert timedelta(minutes=3) <= group.lag < timedelta(minutes=4)
    rows.all("UPDATE eventbus.delivery SET due_at = now() + interval '1 hour'")
    waiting = shop.group_details("stock").group
    assert (waiting.lag, waiting.due_since) == (timedelta(), None)


def test_a_group_is_shown_with_what_it_wants_and_who_serves_it(shop: EventBus, environment: object) -> None:
    """Now: neither what it unsubscribed from, nor workers of others."""
    shop.subscribe("user.*", group="stock", handler=lambda event: None)
    shop.sync()
    shop.remove_group("stock", pattern="user.*")
    for name, groups in (("w1@h", ["stock"]), ("w2@h", ["search"])):
        worker = Worker(id=uuid4(), name=name, host="h", pid=1, pool="solo", concurrency=1, version="0", groups=groups)
        with shop.database.autocommit() as connection:
            workers.beat(connection, worker)

    found = shop.group_details("stock")

    assert [wish.pattern for wish in found.wishes] == ["order.*"]
    assert [worker.name for worker in found.workers] == ["w1@h"]


def test_a_group_is_paused_and_goes_on(
    shop: EventBus, published: list[Event], run_here: Run, environment: object, worker: MakeWorker
) -> None:
    """While it is paused, nothing of it is taken; doing it twice says so."""
    stock = worker()
    said = [run_here("groups", "pause", "stock").stdout for _ in range(2)]
    while_paused = stock.take("stock")
    shown = json.loads(run_here("groups", "show", "stock", "--json").stdout)
    said += [run_here("groups", "resume", "stock").stdout for _ in range(2)]

    after = shop.group_details("stock").group

    assert said == ["stock is paused.\n", "stock was paused before.\n", "stock goes on.\n", "stock was not paused.\n"]
    assert while_paused is None
    assert (shown["paused_by"], shown["paused_at"][:2]) == (whoami(), "20")
    assert (after.paused, after.paused_by, after.paused_at) == (False, None, None)
    assert (shown["paused"], shown["open"], shown["workers"]) == (True, {"pending": 5}, [])
    assert [item["pattern"] for item in shown["subscriptions"]] == ["order.*"]
    assert shown["lag_seconds"] > 0
    assert stock.take("stock") is not None


def test_a_group_is_shown_to_a_person(
    shop: EventBus, published: list[Event], run_here: Run, environment: object
) -> None:
    """With what it has to do; one that does not exist is bad input."""
    output = run_here("groups", "show", "stock").stdout

    assert "open         5 pending\n" in output
    assert "workers      none\n" in output
    for words in (("groups", "show", "x"), ("groups", "pause", "x")):
        assert run_here(*words).returncode == 2


def test_a_story_is_a_tree(bus: EventBus, worker: MakeWorker, run_here: Run, environment: object) -> None:
    """What a handler publishes stands below its event, with what each group made of it and when."""

    def reserve(event: Event) -> None:
        bus.publish("stock.reserved", {}, source="stock")

    def fail(event: Event) -> None:
        raise ValueError("no address")

    bus.subscribe("order.created", group="stock", handler=reserve)
    bus.subscribe("stock.reserved", group="mail", handler=fail)
    here = worker(bus)
    order = bus.publish("order.created", {}, source="shop", correlation_id="o-1")
    for group in ("stock", "mail"):
        claimed = here.take(group)
        assert claimed is not None
        ended = here.run(claimed)
        if isinstance(ended, BaseException):
            here.fail(claimed, ended)

    lines = run_here("trace", "o-1").stdout.splitlines()
    objects = [json.loads(line) for line in run_here("trace", "o-1", "--json").stdout.splitlines()]

    assert [line.split("  +")[0] for line in lines] == [
        "order.created",
        "  · stock  done",
        "  stock.reserved",
        "    · mail  retrying  by worker-1  after 1 failed run  ValueError: no address",
    ]
    assert [(item["type"], item["depth"]) for item in objects] == [("order.created", 0), ("stock.reserved", 1)]
    assert objects[1]["metadata"]["causation_id"] == str(order.id)
    assert run_here("trace", "nothing").returncode == 1


def test_a_long_story_says_that_it_is_cut(
    bus: EventBus, run_here: Run, environment: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first events are shown; one that just fits is whole."""
    monkeypatch.setattr("eventbus.lifecycle.browsing.LONGEST_STORY", 2)
    for correlation_id in ("o-1", "o-2", "o-1", "o-2", "o-1"):
        bus.publish("order.created", {}, source="shop", correlation_id=correlation_id)

    done = run_here("trace", "o-1")

    assert (bus.story("o-1").is_cut, bus.story("o-2").is_cut) == (True, False)
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == "there are more events than these 2.\n"


def test_what_does_not_exist_is_said(bus: EventBus) -> None:
    """By its own error."""
    with pytest.raises(UnknownEvent):
        bus.event_details(uuid4())
    with pytest.raises(UnknownGroup):
        bus.group_details("nobody")


@pytest.fixture
def narrow(environment: dict[str, str]) -> Callable[..., str]:
    """A function that runs a command on a terminal of 50 columns."""

    def call(*arguments: str) -> str:
        variables = {**os.environ, **environment, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
        variables.pop("COLUMNS", None)
        words = ["-c", "from eventbus.cli import main; main()", *arguments]
        child = pexpect.spawn(sys.executable, words, env=variables, encoding="utf-8", timeout=30, dimensions=(40, 50))  # type: ignore[arg-type]
        child.expect(pexpect.EOF)
        child.close()
        return str(child.before)

    return call


def test_a_narrow_terminal_gets_one_value_a_line(published: list[Event], narrow: Callable[..., str]) -> None:
    """A table would be shredded; names are bold."""
    output = narrow("events", "list", "--limit", "1")

    assert f"\x1b[1mid            \x1b[0m  {published[5].id}\r\n" in output
