"""Pages that move: what changes is shown without a reload, and nobody who reads, ticks or types is disturbed by it."""

import threading
import urllib.request

import pytest
from playwright.sync_api import expect

from eventbus.console.page import Live, Shown, Tailing
from eventbus.console.pages import PAGES
from eventbus.console.view import STREAMS
from tests.console.client import Client
from tests.console.desk import Desk
from tests.console.routes import path_of
from tests.console.seed import Seed
from tests.console.streams import first_pulse
from tests.support import wait_until
from tests.support.statements import statements

SHOWN = [route for page in PAGES for route in page.routes if isinstance(route, Shown)]
LIVE = [route for page in PAGES for route in page.routes if isinstance(route, Live)]
STREAMED = {route.path for page in PAGES for route in page.routes if isinstance(route, Live | Tailing)}
#: What does not move: answers, forms, leads, and what only a deploy changes.
STILL = {
    "/find",
    "/events/{event_id:uuid}.json",
    "/events/{event_id:uuid}/why",
    "/schemas",
    "/schemas/{type}",
}
#: Many pairs of lists with and without rows, texts in between, and things in things: the second is what the first becomes.
MORPH_MANY = """() => {
  const pick = (most) => Math.floor(Math.random() * most);
  const piece = (depth) => [
    () => ` ${pick(3)} `, () => `<p class="c${pick(3)}">${pick(9)}</p>`, () => `<i id="i${pick(4)}">${pick(9)}</i>`,
    () => `<li data-row><a href="/${pick(6)}">${pick(9)}</a><b>${pick(9)}</b></li>`,
    () => `<details><summary>${pick(3)}</summary>${depth ? list(depth - 1) : ""}</details>`,
  ][pick(5)]();
  const list = (depth) => Array.from({ length: pick(6) }, () => piece(depth)).join("");
  const wrong = [];
  for (let number = 0; number < 1000; number++) {
    const [before, after] = [list(2), list(2)];
    const element = document.createElement("div"), made = document.createElement("template");
    element.innerHTML = before;
    made.innerHTML = after;
    const meant = made.innerHTML;
    morph(element, made.content);
    if (element.innerHTML !== meant) wrong.push([before, after, element.innerHTML]);
  }
  return wrong.slice(0, 3);
}"""
#: A minute in which much was handled.
_MINUTE = """
INSERT INTO eventbus.traffic (minute, type, group_name, published, consumed)
VALUES (date_trunc('minute', now(), 'UTC') - interval '9 minutes', 'load.made', 'archive', 0, 4711)
"""


def test_every_page_on_which_something_moves_is_told_so(seed: Seed, client: Client) -> None:
    """At its own address below /live, with its own filters."""
    moving = [route.path for route in SHOWN if route.path not in STILL]

    assert {STREAMS + path.rstrip("/") for path in moving} == STREAMED
    for path in moving:
        if path not in ("/dead/trial", "/replays/new"):
            shown = f"{path_of(path, seed)}?group=notification"
            assert f'data-live="{STREAMS}{shown.replace("/?", "?")}"' in client.text(shown), path


@pytest.mark.parametrize("route", LIVE, ids=lambda route: route.path)
def test_a_stream_keeps_to_its_budget(seed: Seed, served: str, route: Live) -> None:
    """With each pulse, for each who looks; and what it tells has a place on its page."""
    path = path_of(route.path, seed)
    # An earlier page's reading, for which nobody waited, is not this stream's.
    wait_until(lambda: "eventbus-console-reading" not in {thread.name for thread in threading.enumerate()})

    with statements(seed.bus.database) as sent, first_pulse(served + path) as told:
        assert told
        assert len(sent) <= route.budget, sent

    if route.path != "/live/dead/trial":
        with urllib.request.urlopen(served + (path.removeprefix(STREAMS) or "/"), timeout=20) as answer:
            text = answer.read().decode()
        assert [each["id"] for each in told if "id" in each and f'id="{each["id"]}"' not in text] == []


def test_a_link_in_what_is_told_leads_to_the_page(own_seed: Seed, own_served: str) -> None:
    """Not to its stream."""
    for group in ("inventory", "archive") * 13:
        own_seed.bus.pause_group(group)
        own_seed.bus.resume_group(group)

    with first_pulse(f"{own_served}/live/audit") as told:
        assert 'href="/audit?cursor=' in told[0]["html"]


@pytest.mark.chromium
def test_whatever_is_told_is_what_is_shown(desk: Desk) -> None:
    """However a list changes: rows come, go, and change places."""
    desk.open("/audit")

    assert desk.page.evaluate(MORPH_MANY) == []


@pytest.mark.chromium
def test_a_cause_appears_before_ones_eyes(desk: Desk) -> None:
    """Whoever stands on another row with the keyboard stays there."""
    desk.open("/dead")
    link = desk.page.get_by_role("link", name="KeyError")
    link.focus()

    desk.kill(2, cause="b1")

    expect(desk.page.get_by_role("row").filter(has_text="stock.py:reserve")).to_have_count(1)
    expect(link).to_be_focused()


@pytest.mark.chromium
def test_ticks_and_texts_outlive_what_comes(desk: Desk) -> None:
    """A list of which something is ticked waits, and says so: nobody ticks a row that has just moved under the mouse."""
    [first] = desk.kill(1, cause="b2")
    desk.open("/dead/causes/b2")
    page = desk.page
    box, reason = page.get_by_label(f"Dead letter {first}"), page.get_by_label("Reason")
    box.check()
    reason.fill("a test or")

    desk.rows.all("UPDATE eventbus.fingerprint SET occurrences = 7 WHERE fingerprint = 'b2'")
    [second] = desk.kill_more(cause="b2")
    expect(page.locator("#cause")).to_contain_text("of 7")
    expect(page.locator("#live-state")).to_have_text("The list waits while something is ticked.")
    expect(box).to_be_checked()
    expect(page.get_by_label(f"Dead letter {second}")).to_have_count(0)

    box.uncheck()
    expect(page.get_by_label(f"Dead letter {second}")).to_have_count(1)
    expect(page.locator("#live-state")).to_have_text("")
    expect(reason).to_have_value("a test or")


@pytest.mark.chromium
def test_an_event_is_followed_from_group_to_group(desk: Desk) -> None:
    """What one has opened, and selected to copy it, stays so."""
    event = desk.seed.bus.publish("load.made", {"number": 1}, source="tests", correlation_id="followed")
    desk.open(f"/events/{event.id}")
    page = desk.page
    standing = page.get_by_role("region", name="archive")
    expect(standing).to_contain_text("pending")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#parts h3 a'))")

    desk.finish()
    desk.seed.bus.publish("load.followed", {}, source="tests", correlation_id="followed")

    expect(standing).to_contain_text("done")
    expect(page.locator("#story")).to_contain_text("load.followed")
    assert page.evaluate("getSelection().toString()") == "archive"


@pytest.mark.chromium
def test_what_is_open_stays_open(desk: Desk) -> None:
    """While the size of a table, or the age of the oldest snapshot, moves."""
    desk.open("/storage")
    page = desk.page
    page.get_by_text("Partitions of delivery").click()
    shown = page.get_by_role("group", name="Partitions of delivery")
    expect(shown).to_be_visible()
    expect(page.locator("#space .facts")).to_contain_text("nobody holds one")

    with desk.rows.transaction() as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT count(*) FROM eventbus.worker")
        expect(page.locator("#space .facts")).to_contain_text("vacuum waits for it", timeout=10_000)

    expect(shown).to_be_visible()


@pytest.mark.chromium
def test_a_change_is_listed_as_it_happens(desk: Desk) -> None:
    """Also one that somebody makes elsewhere."""
    desk.open("/audit")
    rows = desk.page.locator("tbody tr")
    before = rows.count()

    desk.seed.bus.pause_group("inventory")

    expect(rows).to_have_count(before + 1)
    expect(rows.first).to_contain_text("inventory")


@pytest.mark.chromium
def test_nobody_waits_for_a_count(desk: Desk) -> None:
    """The page is there at once, and tells the number when it is known; nobody has to reload it."""
    with desk.rows.transaction() as other:
        other.execute("LOCK TABLE eventbus.event_log IN ACCESS EXCLUSIVE MODE")
        desk.open("/replays/new?group=inventory&pattern=order.paid&count=1")
        desk.read("Counting …")

    desk.read("1 deliveries to inventory")
    expect(desk.page.get_by_role("button", name="Deliver 1 again")).to_be_visible()


@pytest.mark.chromium
def test_a_row_tells_how_its_groups_stand_now(desk: Desk) -> None:
    """One that was there, and one that has come since."""
    old = desk.seed.bus.publish("load.old", {}, source="tests")
    desk.open("/events?pattern=load.*&source=tests")
    rows = desk.page.get_by_role("row")
    first = rows.filter(has_text="load.old")
    expect(first.locator(f"#standings-{old.id}")).to_contain_text("pending")
    desk.seed.bus.publish("load.new", {}, source="tests")
    second = rows.filter(has_text="load.new")
    expect(second).to_contain_text("pending")

    desk.finish()

    expect(first).to_contain_text("done")
    expect(second).to_contain_text("done")


@pytest.mark.chromium
def test_charts_follow(desk: Desk) -> None:
    """The overview's, and the small one of each group: they are drawn anew when the numbers change."""
    desk.open("/")
    expect(desk.page.locator(".chart canvas")).to_have_count(1)
    line = desk.page.get_by_role("img", name="Handled by archive").locator("polyline")
    points = line.get_attribute("points")
    desk.page.evaluate("window.drawn = document.querySelector('.chart canvas').toDataURL()")

    desk.rows.all(_MINUTE)

    desk.page.wait_for_function("() => document.querySelector('.chart canvas').toDataURL() !== window.drawn")
    expect(line).not_to_have_attribute("points", points or "")
