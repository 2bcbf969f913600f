"""Replays in the console: counted first, carried out in the background, stopped and taken up again."""

import re
import threading
from html import unescape
from uuid import UUID, uuid4

import pytest
from playwright.sync_api import expect

from eventbus.console import Role, User, create_app
from eventbus.console.background import Background
from eventbus.errors import DatabaseBusy
from eventbus.lifecycle import replaying
from eventbus.lifecycle.replay_planning import Asked
from eventbus.replay import ReplayState
from tests.console.client import Client
from tests.console.conftest import OpenPage
from tests.console.seed import Seed
from tests.support import wait_until

WIZARD = "/replays/new?group=inventory&pattern=order.created&since=1h&count=1"


def state(seed: Seed, id: UUID) -> ReplayState:
    """Where a job stands."""
    return seed.bus.find_replay(id).state


def id_in(url: object) -> UUID:
    """The job whose page that is."""
    return UUID(str(url).rpartition("/")[2])


def slow_job(seed: Seed) -> UUID:
    """A job of three deliveries, of which one is made due every other second."""
    planned = seed.bus.replaying.plan(Asked(group="inventory", pattern="order.created"))
    return seed.bus.replaying.create(planned, rate=0.5).id


def counted(client: Client, path: str = WIZARD) -> str:
    """The page of the wizard, once it knows the number."""
    return wait_until(lambda: text if "Counting …" not in (text := client.text(path)) else None) or ""


def test_the_list_tells_how_far_each_has_come(client: Client, seed: Seed) -> None:
    """With its group, its state and who asked for it."""
    text = client.text("/replays")

    assert text.count("<tr data-row") == 1
    for part in ("inventory", ">done<", "1 of 1", 'data-live="/live/replays"'):
        assert part in text


def test_one_job_tells_what_became_of_its_deliveries(client: Client, seed: Seed) -> None:
    """By the words of the command line."""
    text = client.text(f"/replays/{seed.replay_id}")

    assert "ended before, delivered again" in text
    assert "Cancel" not in re.findall(r"<button[^>]*>([^<]*)</button>", text)
    assert "<h1>Not found</h1>" in client.text(f"/replays/{uuid4()}", status=404)


def test_a_rate_says_what_it_is(own_client: Client, own_seed: Seed) -> None:
    """Of the whole time, in which nobody may have worked on it."""
    with own_seed.bus.database.autocommit() as connection:
        connection.change("UPDATE eventbus.replay SET created_at = updated_at - interval '100 s'")

    assert "0.01 per second on average since it was requested" in own_client.text(f"/replays/{own_seed.replay_id}")


def test_what_would_be_replayed_is_counted_first(client: Client, seed: Seed) -> None:
    """And nothing is changed by counting: it is an address."""
    text = counted(client)

    assert "<h2>3 deliveries to inventory</h2>" in text
    assert "Deliver 3 again" in text
    assert len(seed.bus.replays()) == 1
    nothing = counted(client, "/replays/new?group=inventory&pattern=nothing.at.all&count=1")
    assert "no event of the log matches" in nothing
    assert "again</button>" not in nothing


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("group=inventory", "say what to replay"),
        ("group=nobody&pattern=%23", "does not exist"),
        ("pattern=%23", "is not a group name"),
        ("group=inventory&pattern=a..b", "is not a pattern"),
        ("group=inventory&since=tomorrow", "is not a time"),
        ("group=inventory&event_ids=x", "must be the ids of events"),
        ("group=inventory&pattern=%23&rate=fast", "must be a positive number"),
        ("group=inventory&pattern=%23&rate=-1", "must be a positive number"),
        ("group=inventory&pattern=%23&rate=nan", "must be a positive number"),
        ("group=inventory&pattern=%23&last_id=x", "is not an id"),
        (f"group=inventory&event_ids={'a' * 60_000}", "must be the ids of events"),
    ],
)
def test_what_cannot_be_counted_is_said_above_the_form(client: Client, query: str, says: str) -> None:
    """With what was typed."""
    text = client.refusal(f"/replays/new?{query}&count=1")

    assert says in unescape(text)
    assert 'role="alert"' in text


def test_what_was_counted_is_replayed_in_the_background(own_client: Client, own_seed: Seed) -> None:
    """Events that came after the count are no part of it; the audit names who asked."""
    page = counted(own_client)
    own_seed.bus.publish("order.created", {"orderId": "late", "total": 1}, source="tests", version=1)

    begun = own_client.submit(page, "/replays")
    id = id_in(begun.url)

    assert "Replaying to inventory: 3 deliveries." in begun.text
    wait_until(lambda: state(own_seed, id) is ReplayState.DONE, message="the replay to end")
    job = own_seed.bus.find_replay(id)
    assert (job.total, job.seen) == (3, 3)
    # The job ends with its last batch, and the entry is ended after that.
    wait_until(lambda: own_seed.bus.audit()[0].result == "done", message="the entry of the audit to end")
    assert own_seed.bus.audit()[0].changed == 3


def test_more_than_was_counted_is_not_replayed(own_client: Client, own_seed: Seed) -> None:
    """Such as for a subscription that came in between."""
    before = len(own_seed.bus.replays())

    refused = own_client.submit(counted(own_client), "/replays", counted="2")

    assert (refused.status_code, "more than the 2 counted" in refused.text) == (400, True)
    assert len(own_seed.bus.replays()) == before


def test_the_user_is_the_one_who_replays(own_seed: Seed) -> None:
    """In the job and in the audit, though a thread of the console does the work."""
    app = create_app(own_seed.bus, check=lambda request: User(name="ann", role=Role.OPERATOR))
    with Client(app) as client:
        id = id_in(client.submit(counted(client), "/replays").url)
        wait_until(lambda: state(own_seed, id) is ReplayState.DONE, message="the replay to end")

    assert own_seed.bus.find_replay(id).requested_by == "ann"
    assert own_seed.bus.audit()[0].who == "ann"


def test_a_console_that_ends_leaves_a_job_that_goes_on(own_seed: Seed) -> None:
    """It is interrupted between two batches, and shown so; another console resumes it."""
    id = slow_job(own_seed)
    with Client(create_app(own_seed.bus)) as client:
        client.press(f"/replays/{id}", f"/replays/{id}/resume")
        wait_until(lambda: own_seed.bus.find_replay(id).seen > 0, message="the first batch")
    assert state(own_seed, id) is ReplayState.INTERRUPTED

    with Client(create_app(own_seed.bus)) as client:
        text = client.text(f"/replays/{id}")
        assert "No process runs it" in text
        client.submit(text, f"/replays/{id}/resume")
        wait_until(lambda: state(own_seed, id) is ReplayState.DONE, timeout=30, message="the replay to end")
        counted(client)  # before, its page has no form
        late = client.post(f"/replays/{id}/resume", data={"token": client.token(WIZARD)})

    assert own_seed.bus.find_replay(id).seen == 3
    assert (late.status_code, "nothing left to resume" in late.text) == (400, True)


def test_a_job_is_cancelled_after_a_question(own_client: Client, own_seed: Seed) -> None:
    """What it did stays done."""
    id = slow_job(own_seed)

    asked = own_client.press(f"/replays/{id}", f"/replays/{id}/cancel")
    assert "0 of 3 deliveries were processed" in asked.text
    assert state(own_seed, id) is ReplayState.PLANNED
    cancelled = own_client.submit(asked.text, f"/replays/{id}/cancel")
    again = own_client.submit(asked.text, f"/replays/{id}/cancel")

    assert "Cancelled." in cancelled.text
    assert "It had already ended." in again.text
    assert state(own_seed, id) is ReplayState.CANCELLED


def test_ending_waits_for_what_is_under_way() -> None:
    """No batch is cut off in the middle."""
    background, goes_on, ended = Background(), threading.Event(), list[bool]()

    def work(stop: threading.Event) -> None:
        assert stop.wait(20)
        goes_on.wait(0.2)
        ended.append(True)

    background.start(work, name="a batch", who="ann")
    background.stop()

    assert ended == [True]


@pytest.mark.parametrize(
    ("error", "level"),
    [(DatabaseBusy("a lock was waited for in vain."), "WARNING"), (ZeroDivisionError(), "ERROR")],
)
def test_a_job_that_fails_is_logged_and_can_be_resumed(
    error: Exception,
    level: str,
    own_client: Client,
    own_seed: Seed,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody waits for an answer: the page says that it was interrupted. A person must act only where nobody foresaw it."""

    def fail(*_: object) -> None:
        raise error

    id = slow_job(own_seed)
    with monkeypatch.context() as patched:
        patched.setattr(replaying, "replay_batch", fail)
        own_client.press(f"/replays/{id}", f"/replays/{id}/resume")
        wait_until(lambda: "console_work_failed" in caplog.text, message="the failure to be logged")

    [record] = [record for record in caplog.records if record.message == "console_work_failed"]
    assert (record.levelname, record.exc_info is not None) == (level, level == "ERROR")
    assert state(own_seed, id) is ReplayState.INTERRUPTED


@pytest.mark.chromium
def test_a_person_counts_starts_and_watches_by_keyboard(own_seed: Seed, own_served: str, open_page: OpenPage) -> None:
    """In the dark, on a narrow screen; progress comes without a reload."""
    page = open_page(f"{own_served}/replays", theme="dark", width=400)
    page.get_by_role("link", name="New replay").press("Enter")
    page.get_by_label("Group").select_option("inventory")
    page.keyboard.press("Escape")
    page.get_by_label("Type").fill("order.created")
    page.get_by_label("At most per second").fill("2")
    page.get_by_label("Type").press("Enter")
    page.get_by_role("button", name="Deliver 3 again").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Replay to inventory")

    expect(page.locator("#replay").get_by_text("done", exact=True)).to_be_visible(timeout=10_000)
    expect(page.locator("#replay")).to_contain_text("3 of 3")
