"""Dead letters in the console: by cause and one by one; exactly what was shown is retried, discarded, restored."""

import base64
import re
import threading
import zlib
from collections.abc import Sequence
from html import unescape

import pytest
from playwright.sync_api import expect

from eventbus import Draft, EventBus
from eventbus.console import create_app
from eventbus.console.access import Checked, Role, User
from eventbus.console.id_lists import read_ids, write_ids
from eventbus.console.pages import dead_changes, dead_selection
from eventbus.console.settings import ConsoleSettings
from eventbus.errors import DatabaseUnreachable, InvalidInput
from eventbus.lifecycle import trying
from eventbus.lifecycle.trying import Trial
from eventbus.storage.database import Database
from tests.console.client import Client
from tests.console.conftest import OpenPage
from tests.console.seed import EVIL, Seed
from tests.support import wait_until
from tests.support.rows import Rows

KILL = """
WITH died AS (
    UPDATE eventbus.delivery SET state = 'dead', finished_at = now(), last_error = 'ValueError: no stock'
    WHERE group_name = 'archive' AND state = 'pending' RETURNING event_id
)
INSERT INTO eventbus.dead_letter (event_id, group_name, type, attempts, deaths, error_type, error_message, traceback, fingerprint)
SELECT event_id, 'archive', 'load.made', 1, 0, 'ValueError', 'no stock', 'tb', 'cafe' FROM died ORDER BY event_id
"""
CAUSE = """
INSERT INTO eventbus.fingerprint (fingerprint, error_type, gist, place, groups, occurrences, news_occurrence)
VALUES ('cafe', 'ValueError', 'no stock', 'stock.py:reserve', '{archive}', 8, 1)
"""
LETTERS = "/dead/letters?group=archive"


@pytest.fixture
def rows(own_seed: Seed) -> Rows:
    """The test's own database, behind the back of the bus."""
    return Rows(own_seed.bus.settings.database_url.replace("+psycopg2", ""))


@pytest.fixture
def eight(own_seed: Seed, rows: Rows) -> list[int]:
    """Eight open dead letters of archive, of one cause; their ids."""
    for number in range(4):
        own_seed.bus.publish("load.made", {"number": number}, source="tests")
    rows.all(KILL)
    rows.all(CAUSE)
    return sorted(letter.id for letter in own_seed.bus.dead_letters(group="archive").items)


def ids_in(text: str) -> list[int]:
    """The letters that can be ticked."""
    return [int(id) for id in re.findall(r'name="id" value="(\d+)"', text)]


def open_ids(bus: EventBus) -> list[int]:
    """What is still open of archive."""
    return sorted(letter.id for letter in bus.dead_letters(group="archive").items)


def finish(rows: Rows, state: str) -> None:
    """Let all deliveries of archive that run again end that way."""
    rows.all(f"UPDATE eventbus.delivery SET state = '{state}', finished_at = now() WHERE state = 'pending'")


def settings_of(name: str) -> ConsoleSettings:
    """Those of one of several consoles that share a secret; *name* is whoever asks there."""
    access = Checked(lambda request: User(name=name, role=Role.OPERATOR))
    return ConsoleSettings(access=access, secret="one secret of several consoles, and long enough")


def test_causes_come_first(client: Client, seed: Seed) -> None:
    """A line for each, with its state, counts, times, groups and trend; nothing of it is HTML."""
    text = client.text("/dead")

    assert text.count("<tr data-row") == 2
    for part in ("KeyError", ">new<", "notification", "<polyline", "1 in the last 24 hours"):
        assert part in text
    assert "<script>window" not in text
    assert "No dead letter matches." in client.text("/dead?state=resolved")
    assert "must be one of" in client.text("/dead?state=sad", status=400)


def test_a_trend_says_what_it_leaves_out(own_client: Client, own_seed: Seed, rows: Rows, eight: list[int]) -> None:
    """It is read from the newest letters of a cause."""
    few = own_client.text("/dead/causes/cafe")
    own_seed.bus.publish_many(Draft(type="load.made", data={}, source="tests") for _ in range(200))
    rows.all(KILL)

    many = own_client.text("/dead/causes/cafe")

    assert ("8 in the last 24 hours" in few, "or more" in few) == (True, False)
    assert "</svg>\n 200 or more <small>the line shows the newest 200" in many
    assert "200 or more in the last 24 hours" in own_client.text("/dead")


def test_a_letter_is_shown_with_the_handlers_own_frames_first(client: Client, seed: Seed) -> None:
    """Its event, its failed runs, the whole traceback; and what may be done with it."""
    text = client.text(f"/dead/{seed.letter_id}")

    for part in (
        "<strong>_deliver</strong>",
        "Full traceback",
        "o-4711",
        "asked the shop",
        "worker-1@host",
        ">Retry<",
    ):
        assert part in text
    evil = client.text(f"/dead/{seed.evil_letter_id}")
    assert "<script>window" not in evil
    assert unescape(evil).count(EVIL) >= 2


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/dead/4711", 404, "dead letter 4711"),
        (f"/dead/{10**18 - 1}", 404, "dead letter 999999999999999999"),
        (f"/dead/{1 << 63}", 404, "no such page"),
        (f"/dead/{'9' * 5000}", 404, "no such page"),
        ("/dead/causes/0000", 404, "0000"),
        ("/dead/causes/..%2f..", 404, ""),
        ("/dead/letters?cursor=-1", 400, "must be a whole number"),
        ("/dead/letters?status=sad", 400, "must be one of"),
        ("/dead/letters?fingerprint=%3Cscript%3E", 400, "fingerprint="),
        ("/dead/letters?since=2h&until=3h", 400, "is not before"),
        ("/dead?cursor=x", 400, "is not one"),
        ("/dead/trial?plan=forged", 400, "was not started in this console"),
        (f"/dead/trial?plan={'a' * 20_000}", 400, "is longer than"),
    ],
)
def test_what_does_not_exist_is_said_so(client: Client, path: str, status: int, says: str) -> None:
    """In a sentence, whatever the address holds."""
    text = unescape(client.text(path, status=status))

    assert says.lower() in text.lower()
    assert "Traceback" not in text


def test_what_is_chosen_is_retried(own_client: Client, own_seed: Seed, eight: list[int]) -> None:
    """After the question, which tells how many; nothing else is."""
    page = own_client.text(LETTERS)
    assert sorted(ids_in(page)) == eight

    asked = own_client.submit(page, "/dead/retry", scope="chosen", id=[str(id) for id in eight[:3]])
    assert "Retry 3 dead letters?" in asked.text
    assert "3 open dead letters match: the ticked ones." in asked.text
    assert open_ids(own_seed.bus) == eight
    done = own_client.submit(asked.text, "/dead/retry", id=[str(id) for id in eight[:3]])

    assert "3 dead letters retried." in done.text
    assert open_ids(own_seed.bus) == eight[3:]
    entry = own_seed.bus.audit()[0]
    assert (entry.action, entry.asked, entry.changed) == ("dead retry", 3, 3)


def test_a_question_says_what_will_wait(own_client: Client, own_seed: Seed, eight: list[int]) -> None:
    """Of a group that is paused, or that nobody serves; of another it says nothing."""
    path = f"/dead/{eight[0]}"
    unserved = own_client.press(path, "/dead/retry")
    cause = own_client.submit(own_client.text("/dead/causes/cafe"), "/dead/retry", scope="all")
    own_seed.bus.pause_group("archive")
    paused = own_client.submit(own_client.text(LETTERS), "/dead/retry", scope="all")
    served = own_client.press(f"/dead/{own_seed.letter_id}", "/dead/retry")

    for asked in (unserved, cause):
        assert "archive has no worker: its retried deliveries wait until one is started." in asked.text
    assert "archive is paused: its retried deliveries wait until somebody resumes it." in paused.text
    assert "Retry 1 dead letters?" in served.text
    assert f"1 open dead letters match: id {own_seed.letter_id}." in served.text
    assert "its retried deliveries wait" not in served.text


def test_everything_that_matches_is_what_was_counted(
    own_client: Client, own_seed: Seed, eight: list[int], rows: Rows
) -> None:
    """What dies between question and answer is left; what was resolved meanwhile is not counted."""
    asked = own_client.submit(own_client.text("/dead/causes/cafe"), "/dead/retry", scope="all")
    assert "Retry 8 dead letters?" in asked.text
    own_seed.bus.publish("load.made", {}, source="tests")
    rows.all(KILL)
    own_seed.bus.discard_dead_letters(group="archive", ids=[eight[0]], reason="no")

    done = own_client.submit(asked.text, "/dead/retry")

    assert "7 dead letters retried." in done.text
    assert len(open_ids(own_seed.bus)) == 1
    assert max(eight) < open_ids(own_seed.bus)[0]


def test_nothing_is_left_to_change(own_client: Client, own_seed: Seed, eight: list[int]) -> None:
    """Where somebody else was faster, before the question or after it, the answer says so."""
    page = own_client.text(LETTERS)
    asked = own_client.submit(page, "/dead/retry", scope="all")
    own_seed.bus.discard_dead_letters(group="archive", ids=eight, reason="no")

    late = own_client.submit(asked.text, "/dead/retry")
    none = own_client.submit(own_client.submit(page, "/dead/retry", scope="all").text, "/dead/retry")

    assert "0 dead letters retried." in late.text
    assert "0 dead letters retried." in none.text


def test_as_many_others_are_refused_too(own_client: Client, own_seed: Seed, eight: list[int]) -> None:
    """One is resolved and an older one restored in between: as many as before, but not those that were shown."""
    own_seed.bus.discard_dead_letters(group="archive", ids=[eight[0]], reason="no")
    asked = own_client.submit(own_client.text(LETTERS), "/dead/retry", scope="all")
    own_seed.bus.discard_dead_letters(group="archive", ids=[eight[1]], reason="no")
    own_seed.bus.restore_dead_letters([eight[0]])

    refused = own_client.submit(asked.text, "/dead/retry")

    assert (refused.status_code, "other dead letters match now" in refused.text.lower()) == (400, True)
    assert open_ids(own_seed.bus) == [eight[0], *eight[2:]]


def test_as_many_others_are_refused_among_thousands(own_client: Client, own_seed: Seed, rows: Rows) -> None:
    """The form carries each of them, however many there are."""
    own_seed.bus.publish_many(Draft(type="load.made", data={}, source="tests") for _ in range(5000))
    rows.all(KILL)
    rows.all(CAUSE)
    [_, first, second] = [letter.id for letter in own_seed.bus.dead_letters(fingerprint="cafe", limit=3).items]
    own_seed.bus.discard_dead_letters(group="archive", ids=[first], reason="no")
    asked = own_client.submit(own_client.text("/dead/causes/cafe"), "/dead/retry", scope="all")
    own_seed.bus.discard_dead_letters(group="archive", ids=[second], reason="no")
    own_seed.bus.restore_dead_letters([first])

    refused = own_client.submit(asked.text, "/dead/retry")

    assert "Retry 5,003 dead letters?" in asked.text
    assert (refused.status_code, "other dead letters match now" in refused.text.lower()) == (400, True)
    assert own_seed.bus.dead_letter(first).letter.status == "open"


def test_a_list_of_ids_is_read_as_it_was_written() -> None:
    """Unless it is too long to be carried, or nobody wrote it."""
    ids = [7, 8, 4711, 10**17]

    assert read_ids(write_ids(ids, longest=100) or "") == ids
    assert write_ids(ids, longest=10) is None
    assert write_ids([], longest=10) is None
    assert len(write_ids(range(1_000_000), longest=10_000) or "") > 0
    for steps in ("", "x", "1,", "1,-2", "9" * 5000):
        for text in (steps, base64.urlsafe_b64encode(zlib.compress(steps.encode())).decode()):
            with pytest.raises(InvalidInput):
                read_ids(text)


def test_what_no_form_can_carry_is_refused(
    own_client: Client, own_seed: Seed, eight: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than to take others for them; and so is a form that has lost them."""
    page = own_client.text(LETTERS)
    asked = own_client.submit(page, "/dead/retry", scope="all")
    lost = own_client.submit(asked.text, "/dead/retry", shown="")
    monkeypatch.setattr(dead_selection, "_MOST_SHOWN", 5)
    refused = own_client.submit(page, "/dead/retry", scope="all")

    assert (lost.status_code, "is no list of dead letters" in lost.text) == (400, True)
    assert (refused.status_code, "choose a shorter time" in refused.text) == (400, True)
    assert open_ids(own_seed.bus) == eight


def test_only_what_is_shown_is_changed(own_client: Client, own_seed: Seed, eight: list[int]) -> None:
    """Where other letters than the open ones are listed, these are not offered, and a form that asks for them is refused."""
    own_seed.bus.discard_dead_letters(group="archive", ids=[eight[0]], reason="no")
    token = own_client.token(LETTERS)

    for status in ("discarded", "all", "retried"):
        text = own_client.text(f"{LETTERS}&status={status}")
        assert not {"/dead/retry", "/dead/discard"} & set(re.findall(r'action="([^"]*)"', text)), status
        sent = {"token": token, "scope": "all", "group": "archive", "status": status, "reason": "no"}
        for action in ("/dead/retry", "/dead/discard"):
            answer = own_client.post(action, data=sent)
            assert (answer.status_code, "only open dead letters" in answer.text) == (400, True), status
    restored = own_client.press(f"{LETTERS}&status=discarded", "/dead/restore", id=str(eight[0]), confirmed="yes")

    assert "1 dead letters restored." in restored.text
    assert open_ids(own_seed.bus) == eight


def test_a_filter_of_letters_can_be_cleared(client: Client, seed: Seed) -> None:
    """Of the list, and of a cause's."""
    for path in ("/dead/letters", f"/dead/causes/{seed.examples['fingerprint']}"):
        assert f'<a href="{path}">Clear</a>' in client.text(f"{path}?group=notification"), path
        assert "Clear" not in client.text(path), path


def test_all_that_matches_needs_a_group_or_a_cause(client: Client) -> None:
    """It is not offered where it would be refused."""
    all_of_it = r'value="all"( disabled)?>'

    found = [re.search(all_of_it, client.text(path)) for path in ("/dead/letters", "/dead/letters?group=notification")]

    assert [match and match[1] for match in found] == [" disabled", None]


def test_the_way_back_keeps_the_filter(own_client: Client, eight: list[int]) -> None:
    """Whether nothing was changed, or something was."""
    path = f"{LETTERS}&type=load.*"

    asked = own_client.press(path, "/dead/retry", scope="chosen", id=str(eight[0]))
    done = own_client.submit(asked.text, "/dead/retry", id=str(eight[0]))

    assert f'href="{LETTERS}'.replace("group=archive", "type=load.%2A&amp;group=archive&amp;status=open") in asked.text
    assert dict(done.url.params) == {"type": "load.*", "group": "archive", "status": "open"}


def test_a_group_that_was_asked_for_goes_along(
    own_client: Client, own_seed: Seed, rows: Rows, eight: list[int]
) -> None:
    """From the causes to one of them and into the question, which says what is meant; letters of other groups stay as they are."""
    rows.all("UPDATE eventbus.dead_letter SET fingerprint = 'cafe' WHERE group_name = 'notification'")
    rows.all("UPDATE eventbus.fingerprint SET groups = '{archive,notification}' WHERE fingerprint = 'cafe'")
    causes = unescape(own_client.text("/dead?group=archive"))
    [path] = set(re.findall(r'href="(/dead/causes/cafe[^"]*)"', causes))
    page = own_client.text(path)

    asked = own_client.submit(page, "/dead/retry", scope="all")
    sent = {"token": own_client.token(path), "scope": "all", "group": "archive", "fingerprint": "cafe", "reason": "no"}
    discarding = own_client.post("/dead/discard", data=sent)
    whole = own_client.submit(own_client.text("/dead/causes/cafe"), "/dead/retry", scope="all")

    assert "8 open dead letters match: group archive, fingerprint cafe." in discarding.text
    assert "8 open dead letters match: group archive, fingerprint cafe." in asked.text
    assert "10 open dead letters match: fingerprint cafe, of any group." in whole.text
    own_client.submit(asked.text, "/dead/retry")
    assert open_ids(own_seed.bus) == []
    assert len(own_seed.bus.dead_letters(group="notification").items) == 2


def test_enter_in_the_reason_asks_for_nothing(client: Client) -> None:
    """It would press the first button of the form, which retries."""
    form = client.text("/dead/letters").partition('action="/dead/retry">')[2]

    assert re.findall(r"<button[^>]*>", form)[0] == "<button disabled hidden>"


def test_more_than_was_shown_is_refused(own_client: Client, own_seed: Seed, eight: list[int]) -> None:
    """A letter that was restored in between, or a form that was tampered with, changes nothing."""
    own_seed.bus.discard_dead_letters(group="archive", ids=[eight[0]], reason="no")
    asked = own_client.submit(own_client.text(LETTERS), "/dead/retry", scope="all")
    own_seed.bus.restore_dead_letters([eight[0]])

    refused = own_client.submit(asked.text, "/dead/retry")
    uncounted = own_client.submit(own_client.text(LETTERS), "/dead/retry", scope="all", confirmed="yes")

    assert (refused.status_code, "more than the 7 that were shown" in refused.text) == (400, True)
    assert (uncounted.status_code, "Count the dead letters before" in uncounted.text) == (400, True)
    assert open_ids(own_seed.bus) == eight


@pytest.mark.parametrize(
    ("action", "fields", "says"),
    [
        ("/dead/retry", {"scope": "chosen"}, "tick the dead letters"),
        ("/dead/retry", {"scope": "nothing"}, "must be one of"),
        ("/dead/retry", {"scope": "chosen", "id": "x"}, "must be a whole number"),
        ("/dead/retry", {"scope": "chosen", "id": ",".join(["1"] * 501)}, "use a filter"),
        ("/dead/retry", {"scope": "chosen", "id": "1", "carefully": "yes", "first": "101"}, "from 1 to 100"),
        ("/dead/discard", {"scope": "chosen", "id": "1"}, "say why"),
        ("/dead/restore", {}, "tick the dead letters"),
        ("/dead/trial", {}, "was not started in this console"),
    ],
)
def test_a_form_that_says_too_little_is_refused(
    client: Client, seed: Seed, action: str, fields: dict[str, str], says: str
) -> None:
    """In a sentence; nothing is changed."""
    token = client.token("/dead/letters")

    answer = client.post(action, data={"token": token, **fields})

    assert (answer.status_code, says in unescape(answer.text).lower()) == (400, True)
    assert len(seed.bus.dead_letters().items) == 2


def test_the_others_follow_when_the_first_have_succeeded(
    own_client: Client, own_seed: Seed, eight: list[int], rows: Rows
) -> None:
    """Not before; though nobody looks, and in the name of the one who asked."""
    asked = own_client.submit(own_client.text(LETTERS), "/dead/retry", scope="all", carefully="yes", first="2")
    assert "2 of them are retried first" in asked.text
    trial = own_client.submit(asked.text, "/dead/retry")
    assert "2 dead letters are retried first." in trial.text
    assert "The other 6 are retried as soon as all of these are done" in trial.text
    assert open_ids(own_seed.bus) == eight[2:]

    finish(rows, "done")
    wait_until(lambda: open_ids(own_seed.bus) == [], message="the others to be retried")

    path = str(trial.url).removeprefix("http://127.0.0.1")
    wait_until(lambda: "so the others were retried too: 6 dead letters." in own_client.text(path))
    assert [entry.changed for entry in own_seed.bus.audit()[:2]] == [6, 2]


def test_one_that_fails_again_stops_the_others(
    own_client: Client, own_seed: Seed, eight: list[int], rows: Rows
) -> None:
    """They are as they were, whoever sends the form."""
    page = own_client.text(LETTERS)
    chosen = {"id": [str(id) for id in eight[:4]], "scope": "chosen", "carefully": "yes", "first": "1"}
    asked = own_client.submit(page, "/dead/retry", **chosen)
    trial = own_client.submit(asked.text, "/dead/retry", id=chosen["id"])
    plan = str(trial.url).partition("plan=")[2]
    finish(rows, "dead")

    wait_until(lambda: "The other 3 are unchanged" in own_client.text(f"/dead/trial?plan={plan}"))
    forced = own_client.post("/dead/trial", data={"token": own_client.token("/dead/letters"), "plan": plan})

    assert (forced.status_code, "1 failed again" in forced.text) == (400, True)
    assert set(eight[1:]) <= set(open_ids(own_seed.bus))


@pytest.mark.parametrize("are_done", [False, True])
def test_a_trial_outlives_its_console(own_seed: Seed, eight: list[int], rows: Rows, are_done: bool) -> None:
    """Ended, it waits no longer and says so; whoever takes it up is named in the audit, and what was resolved since is left out."""
    app = [create_app(own_seed.bus, settings=settings_of(name)) for name in ("ann", "bob")]
    with Client(app[0]) as ann:
        asked = ann.submit(ann.text(LETTERS), "/dead/retry", scope="all", carefully="yes", first="2")
        path = str(ann.submit(asked.text, "/dead/retry").url).removeprefix("http://127.0.0.1")
    if are_done:
        finish(rows, "done")
    own_seed.bus.discard_dead_letters(group="archive", ids=[eight[7]], reason="no")

    with Client(app[1]) as bob:
        text = bob.text(path)
        assert "5 of the other 6 are still open" in text
        assert ("when all of these are done" in text) is not are_done
        taken = bob.submit(text, "/dead/trial")
        finish(rows, "done")
        wait_until(lambda: open_ids(own_seed.bus) == [], message="the others to be retried")
        wait_until(lambda: "5 dead letters. 1 were no longer open." in bob.text(path))

    assert "are retried as soon as" in taken.text or "were retried too" in taken.text or "being retried" in taken.text
    assert [entry.who for entry in own_seed.bus.audit()[:3] if entry.action == "dead retry"] == ["bob", "ann"]
    with Client(create_app(own_seed.bus, settings=settings_of("ann"))) as ann:
        assert "None of the other 6 is still open." in ann.text(path)


def test_a_trial_waits_for_a_database_that_is_away(
    own_client: Client, own_seed: Seed, eight: list[int], rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on when it is back."""
    away = threading.Event()
    away.set()
    seen: list[bool] = []

    def look(database: Database, ids: Sequence[int]) -> Trial:
        seen.append(away.is_set())
        if away.is_set():
            raise DatabaseUnreachable("away")
        return known(database, ids)

    known = trying.look
    asked = own_client.submit(own_client.text(LETTERS), "/dead/retry", scope="all", carefully="yes", first="2")
    with monkeypatch.context() as patched:
        patched.setattr(trying, "look", look)
        own_client.submit(asked.text, "/dead/retry")
        finish(rows, "done")
        wait_until(lambda: len(seen) > 1, message="a look at a database that is away")
        away.clear()

        wait_until(lambda: open_ids(own_seed.bus) == [], message="the others to be retried")


def test_a_trial_without_others_is_a_retry(own_client: Client, own_seed: Seed, eight: list[int]) -> None:
    """There is nothing to wait for."""
    page = own_client.text(LETTERS)
    chosen = {"id": [str(eight[0])], "scope": "chosen", "carefully": "yes"}

    done = own_client.submit(own_client.submit(page, "/dead/retry", **chosen).text, "/dead/retry", id=chosen["id"])

    assert "1 dead letters retried." in done.text


def test_letters_are_discarded_for_a_reason_and_restored(own_client: Client, own_seed: Seed, eight: list[int]) -> None:
    """From the page of one; the reason is kept with it."""
    path = f"/dead/{eight[0]}"
    asked = own_client.press(path, "/dead/discard", reason="a test order")
    discarded = own_client.submit(asked.text, "/dead/discard")
    assert "1 dead letters discarded." in discarded.text
    assert "a test order" in discarded.text
    assert str(discarded.url).endswith(path)

    question = own_client.submit(discarded.text, "/dead/restore")
    assert "Restore 1 dead letters?" in question.text
    assert open_ids(own_seed.bus) == eight[1:]
    restored = own_client.submit(question.text, "/dead/restore")
    late = {"token": own_client.token(path), "id": str(eight[0]), "confirmed": "yes"}
    again = own_client.post("/dead/restore", data=late)

    assert "1 dead letters restored." in restored.text
    assert "1 could not be" in again.text
    assert open_ids(own_seed.bus) == eight


def test_notes_and_states_are_kept(own_client: Client, own_seed: Seed, eight: list[int]) -> None:
    """Of one letter, and of a cause."""
    noted = own_client.press(f"/dead/{eight[0]}", f"/dead/{eight[0]}/note", note="Ann looks")
    acknowledged = own_client.press("/dead/causes/cafe", "/dead/causes/cafe/acknowledge", note=EVIL)
    assert "Ann looks" in noted.text
    assert ">acknowledged<" in acknowledged.text
    assert own_seed.bus.fingerprint("cafe").note == EVIL
    assert "<script>window" not in own_client.text("/dead")
    # Whoever presses another button writes no note: not the one that was shown, which somebody may have changed since.
    fields = [
        own_client.text(path).split('name="note"')[1].split(">")[0]
        for path in (f"/dead/{eight[0]}", "/dead/causes/cafe")
    ]
    assert [field for field in fields if "value=" in field] == []
    assert own_client.press("/dead/causes/cafe", "/dead/causes/cafe/acknowledge", note="").status_code == 200
    assert own_seed.bus.fingerprint("cafe").note == EVIL

    token = own_client.token("/dead/causes/cafe")
    resolved = own_client.post("/dead/causes/cafe/resolve", data={"token": token})
    late = own_client.post("/dead/causes/cafe/acknowledge", data={"token": token})

    assert ">resolved<" in resolved.text
    assert (late.status_code, "is resolved" in late.text) == (400, True)


def test_very_many_are_changed_in_the_background(
    own_seed: Seed, eight: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the name of the user who asked; ending the console waits for the batch that is under way."""
    monkeypatch.setattr(dead_changes, "_AT_ONCE", 7)
    app = create_app(own_seed.bus, check=lambda request: User(name="ann", role=Role.OPERATOR))
    with Client(app) as client:
        asked = client.submit(client.text(LETTERS), "/dead/retry", scope="all")
        begun = client.submit(asked.text, "/dead/retry")
        assert "8 dead letters are being retried in the background" in begun.text
        wait_until(lambda: open_ids(own_seed.bus) == [], message="all to be retried")

    [entry] = own_seed.bus.audit()[:1]
    assert (entry.who, entry.changed) == ("ann", 8)


@pytest.mark.chromium
def test_a_person_retries_a_few_first_by_keyboard(
    own_seed: Seed, own_served: str, open_page: OpenPage, eight: list[int], rows: Rows
) -> None:
    """And is told when the others have followed."""
    page = open_page(f"{own_served}/dead", theme="dark", width=400)
    page.get_by_role("link", name="ValueError").first.focus()
    page.get_by_role("row").filter(has_text="no stock").get_by_role("link").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("ValueError")
    page.get_by_label("all open ones that match").press("Space")
    page.get_by_label("retry", exact=True).press("Space")
    page.get_by_label("how many first").fill("3")
    page.get_by_role("button", name="Retry").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Retry 8 dead letters?")
    page.get_by_role("button", name="Retry").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Retrying a few first")
    assert open_ids(own_seed.bus) == eight[3:]

    finish(rows, "done")

    expect(page.get_by_text("so the others were retried too: 5 dead letters.")).to_be_visible()
    assert open_ids(own_seed.bus) == []
