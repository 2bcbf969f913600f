"""Events in the console: found by the address, looked at from all sides, delivered again, watched as they come."""

import gc
import json
import shlex
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from playwright.sync_api import expect
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from eventbus import Draft
from eventbus.console import event_following, event_tail
from eventbus.console.copying import copies_of
from eventbus.console.event_following import EventFollowing
from eventbus.console.event_tail import EventTail
from eventbus.console.templating import pretty
from eventbus.storage.overview.stories import Standing
from tests.console.client import Client
from tests.console.conftest import OpenPage
from tests.console.seed import EVIL, Seed
from tests.support import wait_until
from tests.support.statements import statements

#: The id of no event.
NOBODY = "0199c3a2-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", 4),
        ("pattern=order.paid", 1),
        ("pattern=order.*", 4),
        ("group=notification&state=dead", 2),
        ("group=notification&state=retrying", 1),
        ("error=mail+server", 1),
        ("correlation_id=o-4711", 2),
        ("pattern=order.created&since=1h&data.orderId=o-4711", 1),
        ("pattern=order.created&since=1h&where=data.orderId%3Do-4711&where=data.total%3D99", 1),
        ("until=1h", 0),
    ],
)
def test_events_are_found_by_the_address(client: Client, query: str, rows: int) -> None:
    """What is asked for can be shared, as it can be typed."""
    text = client.text(f"/events?{query}")

    assert text.count("<tr data-row") == rows
    assert ("No event matches." in text) is (rows == 0)


def test_rows_leave_little_to_be_collected(client: Client) -> None:
    """Nothing that refers to itself is made for each row: to find it takes a look through all, in the midst of a later request."""
    of_one, of_four = (_left_by(client, f"/events?{query}") for query in ("pattern=order.paid", ""))

    # What a request leaves varies by a few; the macros of one row alone would be a hundred.
    assert of_four - of_one < 50


def test_each_row_says_how_the_groups_stand(client: Client, seed: Seed) -> None:
    """With what was asked in the fields of the form."""
    text = client.text("/events?correlation_id=o-4711&group=notification&state=dead")

    assert text.count("<tr data-row") == 1
    for state in ("archive <", "inventory <", "notification <", ">dead<", ">done<", ">pending<"):
        assert state in text
    assert 'name="correlation_id" value="o-4711"' in text
    assert "<option selected>dead</option>" in text


def test_pages_follow_each_other(own_client: Client, own_seed: Seed) -> None:
    """By a link that keeps the filters; what is live is the newest page alone."""
    for number in range(50):
        own_seed.bus.publish("load.made", {"number": number}, source="tests")

    first = own_client.text("/events?pattern=load.%23&since=1h")
    assert "Older" not in first
    assert "data-live=" in first
    own_seed.bus.publish("load.made", {"number": 50}, source="tests")
    first = own_client.text("/events?pattern=load.%23&since=1h")
    [older] = [part.split('"')[0] for part in first.split('href="')[1:] if "cursor=" in part.split('"')[0]]
    second = own_client.text(unescape(older))

    assert "pattern=load.%23" in older
    assert second.count("<tr data-row") == 1
    assert "data-live=" not in second


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("pattern=a..b", "is not a pattern"),
        ("since=yesterday", "is not a time"),
        ("since=1h&until=2h", "is not before"),
        ("state=sad", "must be one of"),
        ("group=NOBODY", "is not a group name"),
        ("group=nobody", "does not exist"),
        ("cursor=1", "is not an id"),
        ("data.a=1", "give a type and since"),
        ("where=a", "is not of the form"),
        ("correlation_id=%00", "is not a text"),
        (f"pattern={'a' * 501}", "is longer than 500"),
        ("&".join(f"where=data.a{n}%3D1" for n in range(9)), "is given 9 times"),
        (f"error={quote(EVIL)}&state=sad", "must be one of"),
        ("since=999999w", "more than a century"),
    ],
)
def test_what_cannot_be_asked_is_said_above_the_form(client: Client, query: str, says: str) -> None:
    """And what was typed is still there."""
    text = client.text(f"/events?{query}", status=400)

    assert says in unescape(text)
    assert "<script>window" not in text
    assert 'role="alert"' in text
    assert text.count("<tr data-row") == 0


def test_an_event_is_shown_from_all_sides(client: Client, seed: Seed) -> None:
    """Each group with its failed runs, each version, the story, why, and ways to copy it."""
    text = unescape(client.text(f"/events/{seed.order.id}"))

    for part in (
        "Version 1, as published",
        "Version 2",
        '"note": ""',
        "KeyError: 'sku'",
        '<th scope="col">kind</th>',
        "<td>error</td>",
        f'href="/dead/{seed.letter_id}"',
        "order.paid",
        f"eventbus trace {seed.order.correlation_id}",
        f"curl -fsS http://127.0.0.1/events/{seed.order.id}.json",
        "bus.publish(",
        "worker-1@host",
    ):
        assert part in text, part


def test_why_is_told_for_each_group(client: Client, seed: Seed) -> None:
    """As the command line tells it; without a group one is led back."""
    assert "analytics is paused, by " in client.text(f"/events/{seed.order.id}/why?group=analytics")
    assert "given up after" in client.text(f"/events/{seed.order.id}/why?group=notification")
    assert client.get(f"/events/{seed.order.id}/why", follow_redirects=False).status_code == 303
    assert "does not exist" in unescape(client.text(f"/events/{seed.order.id}/why?group=nobody", status=404))


def test_programs_get_an_event_as_json(client: Client, seed: Seed) -> None:
    """As the command line prints it."""
    answer = client.get(f"/events/{seed.evil.id}.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == seed.evil.as_json()


@pytest.mark.parametrize("path", [f"/events/{NOBODY}", f"/events/{NOBODY}.json", f"/events/{NOBODY}/why?group=archive"])
def test_an_event_that_does_not_exist_is_said_so(client: Client, path: str) -> None:
    """With the status of what is not there."""
    assert "<h1>Not found</h1>" in client.text(path, status=404)


def test_nothing_of_an_event_is_taken_for_html(client: Client, seed: Seed) -> None:
    """Neither data nor source, correlation id, headers or errors."""
    for path in ("/events", f"/events/{seed.evil.id}", f"/events/{seed.evil.id}/why?group=notification"):
        text = client.text(path)
        assert "<script>window" not in text
        assert "<img" not in text
        assert "49" not in text.split("<main")[1].split("Copy</h2>")[0] or "{{7*7}}" in unescape(text)


def test_a_copy_can_be_pasted(seed: Seed) -> None:
    """Into a shell and into Python, whatever the event holds."""
    curl, cli, python = copies_of(seed.evil, url="http://127.0.0.1/events/x.json?a=b&c")
    words = shlex.split(cli.text.splitlines()[1])
    made: dict[str, object] = {}

    class Recorder:
        def publish(self, type: str, data: object, **more: object) -> None:
            made.update(type=type, data=data, **more)

    exec(python.text, {"bus": Recorder()})

    assert shlex.split(curl.text)[-1] == "http://127.0.0.1/events/x.json?a=b&c"
    assert words[:2] == ["eventbus", "publish"]
    assert words[-2:] == [seed.evil.type, json.dumps(seed.evil.data, ensure_ascii=False)]
    assert made == {
        "type": seed.evil.type,
        "data": seed.evil.data,
        "source": EVIL,
        "version": 2,
        "correlation_id": EVIL,
    }


def test_a_copy_says_what_it_leaves_out(seed: Seed) -> None:
    """A command line takes no headers; it says so where there are some."""
    some = replace(seed.order, metadata={**seed.order.metadata, "headers": {"tenant": "7"}})

    _, none_lost, _ = copies_of(seed.order, url="http://127.0.0.1/x")
    _, cli, python = copies_of(some, url="http://127.0.0.1/x")

    assert "without its headers" in cli.purpose
    assert "headers={'tenant': '7'}" in python.text
    assert "headers" not in none_lost.purpose


@pytest.mark.parametrize("depth", [400, 900])
def test_a_very_deep_event_is_shown(seed: Seed, depth: int) -> None:
    """Deeper than what is published today; what cannot be written for Python is not offered."""
    data: dict[str, object] = {"bottom": "here"}
    for _ in range(depth):
        data = {"a": data}

    copies = copies_of(replace(seed.evil, data=data), url="http://127.0.0.1/")

    assert [copy.title for copy in copies] == ["curl"]
    assert pretty(data).startswith("{")


def test_what_is_too_long_to_paste_is_not_offered(seed: Seed) -> None:
    """Shells refuse an argument of that length."""
    event = replace(seed.evil, data={"text": "x" * 100_000})

    assert [copy.title for copy in copies_of(event, url="http://127.0.0.1/")] == ["curl"]


def test_an_event_is_delivered_again_after_a_question(own_client: Client, own_seed: Seed) -> None:
    """Which says what becomes of it; the audit names who did it."""
    id = own_seed.order.id
    asked = own_client.press(f"/events/{id}", f"/events/{id}/replay", group="inventory")
    assert "it ended before, and is delivered again" in asked.text

    done = own_client.submit(asked.text, f"/events/{id}/replay")

    assert "1 delivery to inventory, as replay" in done.text
    [standing] = [item for item in own_seed.bus.standings([id]) if item.group == "inventory"]
    assert (standing.state, standing.replay_id is not None) == ("pending", True)
    entry = own_seed.bus.audit()[0]
    assert (entry.action, entry.changed) == ("replay run", 1)


def test_a_tail_hears_what_is_sought_once(own_seed: Seed) -> None:
    """Also what commits while it looks; nothing that was there before, and nothing after it is closed."""
    bus = own_seed.bus
    bus.publish("tail.before", {"number": -1}, source="tests")
    tail = EventTail(bus, {"pattern": "tail.*", "group": None})
    for number in range(10):
        bus.publish("tail.heard", {"number": number}, source="tests")
        bus.publish("other.heard", {"number": number}, source="tests")
    heard = iter(tail)

    numbers = [next(heard).data["number"] for _ in range(10)]
    bus.publish("tail.heard", {"number": 10}, source="tests")
    numbers.append(next(heard).data["number"])
    tail.close()

    assert numbers == list(range(11))
    assert list(heard) == []


def test_a_tail_tells_what_came_while_nobody_looked(own_seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the page and its stream, or while that was paused: as many as a list holds, and of no more than a day."""
    monkeypatch.setattr(event_tail, "_LATE", timedelta(hours=1))  # so long publishing them may take
    bus = own_seed.bus
    bus.publish_many(Draft(type="tail.missed", data={"number": number}, source="tests") for number in range(201))
    tails = [
        EventTail(bus, {"pattern": "tail.*"}, after=after) for after in (bus.clock(), datetime.min.replace(tzinfo=UTC))
    ]

    heard = [[event.data["number"] for event in next(tail.looks())] for tail in tails]

    assert heard == [list(range(1, 201))] * 2


def test_a_tail_hears_what_commits_late(own_seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was recorded before the last look, and is seen only now."""
    monkeypatch.setattr(event_tail, "_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(event_tail, "_LATE", timedelta(hours=1))
    bus = own_seed.bus
    tail = EventTail(bus, {"pattern": "tail.*"})
    looks = tail.looks()

    with Session(create_engine(bus.settings.database_url, poolclass=NullPool)) as session:
        bus.publish("tail.late", {}, source="tests", session=session)
        before = [next(looks) for _ in range(2)]
        session.commit()
    after = [event.type for event in next(looks)]

    assert (before, after) == ([[], []], ["tail.late"])


def test_a_tail_looks_at_no_more_than_is_new(seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while nothing comes of what is sought, among much else that does."""
    monkeypatch.setattr(event_tail, "_EVERY_SECONDS", 0.01)
    asked: list[dict[str, Any]] = []
    find = seed.bus.events

    def events(**sought: Any) -> object:
        asked.append(sought)
        return find(**sought)

    monkeypatch.setattr(seed.bus, "events", events)
    tail = EventTail(seed.bus, {"pattern": "unheard.*"})
    thread = threading.Thread(target=list, args=(tail,))
    thread.start()
    wait_until(lambda: len(asked) > 3)
    tail.close()
    thread.join(10)

    assert asked[0]["since"] < asked[-1]["since"]
    assert {sought["most_read"] for sought in asked} == {4000}


def test_rows_are_followed_at_a_fixed_cost(own_seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """How each stands is told once, and again when it has changed; a look takes as many statements whatever the rows."""
    monkeypatch.setattr(event_tail, "_EVERY_SECONDS", 0.01)
    bus = own_seed.bus
    sought = {"pattern": "order.*", "group": None}
    shown = [event.id for event in bus.events("order.*").items]
    following = EventFollowing(bus, EventTail(bus, sought), shown)
    seen = iter(following)

    with statements(bus.database) as sent:
        first = next(seen)
    told = [first, *(next(seen) for _ in shown[1:])]
    bus.replay(event_ids=[shown[0]], group="inventory")
    changed = next(seen)
    following.close()

    assert {each.id for each in told} == set(shown)
    assert len(sent) <= 8, sent
    assert (changed.id, changed.event) == (shown[0], None)
    assert [each.state for each in changed.standings if each.group == "inventory"] == ["pending"]


def test_a_tail_remembers_no_more_than_it_may_meet_again(own_seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long somebody looks; and tells each event once."""
    for name, value in {"_EVERY_SECONDS": 0.01, "_LATE": timedelta(hours=1), "_MOST": 2, "_REMEMBERED": 3}.items():
        monkeypatch.setattr(event_tail, name, value)
    tail = EventTail(own_seed.bus, {"pattern": "tail.*"})
    looks = tail.looks()
    heard: list[list[int]] = []

    for number in (0, 2, 4):
        for each in (number, number + 1):
            own_seed.bus.publish("tail.heard", each, source="tests")
        heard += [[event.data for event in next(looks)] for _ in range(2)]

    assert heard == [[0, 1], [], [2, 3], [], [4, 5], []]
    assert len(tail._shown) == 3


def test_only_the_newest_rows_are_followed(own_seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long somebody looks; one that comes again, as it came while nobody looked, is still one row."""
    monkeypatch.setattr(event_tail, "_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(event_following, "_MOST", 3)
    bus = own_seed.bus
    monkeypatch.setattr(event_tail, "_LATE", timedelta(hours=1))  # so long publishing them may take
    asked: list[set[UUID]] = []
    find = bus.standings

    def standings(ids: Sequence[UUID]) -> Sequence[Standing]:
        asked.append(set(ids))
        return find(ids)

    monkeypatch.setattr(bus, "standings", standings)
    ids = [bus.publish("tail.heard", {}, source="tests").id for _ in range(4)]
    tail = EventTail(bus, {"pattern": "tail.*"}, after=bus.clock())
    seen = iter(EventFollowing(bus, tail, ids[2::-1]))

    first = [next(seen) for _ in range(3)]
    ids.append(bus.publish("tail.heard", {}, source="tests").id)
    last = next(seen)

    assert [(each.id, each.event is not None) for each in (*first, last)] == [(id, True) for id in ids[1:]]
    assert (asked[0], asked[-1]) == (set(ids[1:4]), set(ids[2:]))


@pytest.mark.chromium
def test_what_came_too_fast_is_told_for_a_while(served: str, open_page: OpenPage) -> None:
    """Not for as long as the page is open."""
    page = open_page(f"{served}/events")
    state = page.locator("#live-state")
    page.clock.install()

    page.evaluate("for (const told of waiting.get('missed')) told(3)")
    expect(state).to_have_text("3 events came too fast to be shown.")
    page.clock.fast_forward(31_000)

    expect(state).to_have_text("")


@pytest.mark.chromium
def test_a_story_shows_what_caused_what(own_seed: Seed, own_served: str, open_page: OpenPage) -> None:
    """On a narrow screen too, and to those who hear it."""
    with own_seed.bus.database.autocommit() as connection:
        connection.change(
            "UPDATE eventbus.event_log SET metadata = metadata || jsonb_build_object('causation_id', CAST(:cause AS text)) "
            "WHERE type = 'order.paid'",
            cause=str(own_seed.order.id),
        )
    page = open_page(f"{own_served}/events/{own_seed.order.id}", width=400)

    branches = page.locator(".tree li")

    expect(branches.nth(0)).to_contain_text("level 1: order.created")
    expect(branches.nth(1)).to_contain_text("level 2: order.paid")
    assert branches.nth(1).evaluate("each => parseFloat(getComputedStyle(each).marginLeft)") > 0


@pytest.mark.chromium
def test_new_events_appear_until_the_tail_is_paused(own_seed: Seed, own_served: str, open_page: OpenPage) -> None:
    """On top, with what they hold escaped; a row is opened by the keyboard alone."""
    page = open_page(f"{own_served}/events?pattern=tail.*")
    with page.expect_response("**/live/events*"):
        page.reload()
    rows = page.locator("tr[data-row]")
    expect(rows).to_have_count(0)

    own_seed.bus.publish("tail.heard", {"text": EVIL}, source=EVIL, correlation_id=EVIL)
    expect(rows).to_have_count(1)
    pause = page.get_by_role("button", name="Pause")
    pause.click()
    own_seed.bus.publish("tail.heard", {"number": 2}, source="tests")
    with page.expect_response("**/live/events*"):
        page.get_by_role("button", name="Go on").click()
    own_seed.bus.publish("tail.heard", {"number": 3}, source="tests")
    expect(rows.first).to_contain_text('"number": 3')
    expect(rows).to_have_count(3)
    page.keyboard.press("j")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_contain_text("tail.heard")
    assert page.evaluate("window.evil") is None


def _left_by(client: Client, path: str) -> int:
    """How many objects a request for *path* leaves that only a collection of garbage finds."""
    client.text(path)
    gc.collect()
    gc.disable()
    try:
        client.text(path)
        return gc.collect()
    finally:
        gc.enable()
