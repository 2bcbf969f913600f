"""Every action of the console, as a person does it in Chromium; one that is added without a browser's test is missed here."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Request, expect
from starlette.routing import Route

from eventbus.console import create_app
from eventbus.console.access import LocalOnly
from eventbus.console.settings import ConsoleSettings
from eventbus.lifecycle.replay_planning import Asked
from eventbus.replay import ReplayState
from tests.console.client import Client
from tests.console.desk import SECRET, USER, Desk, log_in
from tests.support import wait_until
from tests.support.requirements import AXE

Act = Callable[[Desk], None]

#: What a person does, by the route that it leads to.
ACTIONS: dict[str, Act] = {}
#: What changes nothing in the bus.
UNAUDITED = ("/login", "/logout")
_VIOLATIONS = """axe.run().then(({ violations }) => violations.map(
  ({ id, nodes }) => [id, location.href, matchMedia("(prefers-color-scheme: dark)").matches, nodes[0].html]
))"""


def leads_to(path: str) -> Callable[[Act], Act]:
    """What is decorated sends a form to *path*."""

    def note(act: Act) -> Act:
        ACTIONS[path] = act
        return act

    return note


@leads_to("/login")
def log_in_again(desk: Desk) -> None:
    """One is led to where one wanted to go."""
    desk.leave()
    desk.open("/audit")
    log_in(desk)
    expect(desk.page).to_have_url(f"{desk.url}/audit")


@leads_to("/logout")
def log_out(desk: Desk) -> None:
    """What was shown asks for the password from then on."""
    desk.open("/audit")
    desk.press("Log out")
    desk.open("/audit")
    expect(desk.page.get_by_role("heading", level=1)).to_have_text("Log in")
    log_in(desk)


@leads_to("/groups/{group}/pause")
def pause(desk: Desk) -> None:
    desk.open("/groups/inventory")
    desk.press("Pause")
    desk.ask("Pause inventory?", answer="Pause")
    desk.read("inventory is paused.")
    desk.read("inventory is paused, by ")
    assert desk.seed.bus.group_details("inventory").group.paused


@leads_to("/groups/{group}/resume")
def resume(desk: Desk) -> None:
    desk.open("/groups/analytics")
    desk.press("Resume")
    desk.read("Workers claim deliveries of analytics again within two seconds.")
    assert not desk.seed.bus.group_details("analytics").group.paused


@leads_to("/events/{event_id:uuid}/replay")
def replay_an_event(desk: Desk) -> None:
    """To a group that is chosen from a list."""
    id = desk.seed.order.id
    desk.open(f"/events/{id}")
    desk.page.get_by_label("Deliver it again to").select_option("inventory")
    desk.press("Replay")
    desk.ask("Deliver this event to inventory again?", answer="Replay")
    desk.read("1 delivery to inventory, as replay")
    [standing] = [item for item in desk.seed.bus.standings([id]) if item.group == "inventory"]
    assert standing.replay_id is not None


@leads_to("/dead/retry")
def retry(desk: Desk) -> None:
    """What is ticked, and nothing else."""
    ids = desk.kill(3, cause="a1")
    desk.open("/dead/causes/a1")
    desk.page.get_by_label(f"Dead letter {ids[0]}").check()
    desk.page.get_by_label(f"Dead letter {ids[2]}").check()
    desk.press("Retry")
    desk.ask("Retry 2 dead letters?", answer="Retry")
    desk.read("2 dead letters retried.")
    assert [letter.id for letter in desk.seed.bus.dead_letters(fingerprint="a1").items] == [ids[1]]


@leads_to("/dead/trial")
def take_up_a_trial(desk: Desk) -> None:
    """Of a console that has ended before the first ones were done."""
    desk.kill(3, cause="a2")
    here = create_app(desk.seed.bus, settings=ConsoleSettings(access=LocalOnly(), secret=SECRET))
    with Client(here) as client:
        asked = client.submit(client.text("/dead/causes/a2"), "/dead/retry", scope="all", carefully="yes", first="1")
        begun = client.submit(asked.text, "/dead/retry")
    desk.open(f"{begun.url.path}?{begun.url.query.decode()}")
    desk.press("Retry the other 2 when all of these are done")
    desk.read("whether you watch or not")
    desk.finish()
    desk.read("so the others were retried too: 2 dead letters.")
    assert desk.seed.bus.dead_letters(fingerprint="a2").items == ()


@leads_to("/dead/discard")
def discard(desk: Desk) -> None:
    """Everything that matches, for a reason; the browser asks for one where it is forgotten."""
    ids = desk.kill(2, cause="a3")
    desk.open(f"/dead/{ids[0]}")
    desk.press("Discard")
    assert desk.page.evaluate("document.activeElement.name") == "reason"

    desk.open("/dead/causes/a3")
    desk.page.get_by_label("all open ones that match").check()
    desk.page.get_by_label("Reason").fill("a test order")
    desk.press("Discard")
    desk.read("the reason is stored: a test order")
    desk.ask("Discard 2 dead letters?", answer="Discard")
    desk.read("2 dead letters discarded.")
    [letter, _] = desk.seed.bus.dead_letters(fingerprint="a3", status="discarded").items
    assert letter.note == "a test order"


@leads_to("/dead/restore")
def restore(desk: Desk) -> None:
    """One that was discarded is open again."""
    [id] = desk.kill(1, cause="a4")
    desk.seed.bus.discard_dead_letters(group="archive", ids=[id], reason="a test order")
    desk.open("/dead/letters?group=archive&fingerprint=a4")
    desk.page.get_by_label("Status").select_option("discarded")
    desk.press("Show")
    desk.page.get_by_label(f"Dead letter {id}").check()
    desk.press("Restore the ticked ones")
    desk.ask("Restore 1 dead letters?", answer="Restore")
    desk.read("1 dead letters restored.")
    assert desk.seed.bus.dead_letter(id).letter.status == "open"


@leads_to("/dead/{letter_id:number}/note")
def note(desk: Desk) -> None:
    [id] = desk.kill(1, cause="a5")
    desk.open(f"/dead/{id}")
    desk.page.get_by_label("Note").fill("asked the shop")
    desk.press("Save the note")
    desk.read("The note is saved.")
    assert desk.seed.bus.dead_letter(id).letter.note == "asked the shop"


@leads_to("/dead/causes/{fingerprint}/acknowledge")
def acknowledge(desk: Desk) -> None:
    desk.kill(1, cause="a6")
    desk.open("/dead/causes/a6")
    desk.page.get_by_label("Note").fill("Ann looks")
    desk.press("Acknowledge")
    desk.read("Acknowledged.")
    cause = desk.seed.bus.fingerprint("a6")
    assert (cause.state, cause.note) == ("acknowledged", "Ann looks")


@leads_to("/dead/causes/{fingerprint}/resolve")
def resolve(desk: Desk) -> None:
    desk.kill(1, cause="a7")
    desk.open("/dead/causes/a7")
    desk.press("Resolve")
    desk.read("Resolved: the next dead letter of this cause means that it has returned.")
    assert desk.seed.bus.fingerprint("a7").state == "resolved"


@leads_to("/replays")
def start_a_replay(desk: Desk) -> None:
    """Counted, started, and watched until its end."""
    desk.open("/replays/new")
    desk.page.get_by_label("Group").select_option("inventory")
    desk.page.get_by_label("Type").fill("order.paid")
    desk.press("Count")
    desk.press("Deliver 1 again")
    desk.read("Replaying to inventory: 1 deliveries.")
    expect(desk.page.locator("#replay").get_by_text("done", exact=True)).to_be_visible()


@leads_to("/replays/{replay_id:uuid}/resume")
def resume_a_replay(desk: Desk) -> None:
    """One that nobody carries out."""
    planned = desk.seed.bus.replaying.plan(Asked(group="inventory", pattern="order.created"))
    id = desk.seed.bus.replaying.create(planned).id
    desk.open(f"/replays/{id}")
    desk.press("Resume")
    desk.read("The replay continues where it stopped.")
    wait_until(lambda: desk.seed.bus.find_replay(id).state is ReplayState.DONE, message="the replay to end")


@leads_to("/replays/{replay_id:uuid}/cancel")
def cancel_a_replay(desk: Desk) -> None:
    planned = desk.seed.bus.replaying.plan(Asked(group="inventory", pattern="order.created"))
    id = desk.seed.bus.replaying.create(planned).id
    desk.open(f"/replays/{id}")
    desk.press("Cancel")
    desk.ask("Cancel this replay?", answer="Cancel the replay")
    desk.read("Cancelled.")
    assert desk.seed.bus.find_replay(id).state is ReplayState.CANCELLED


@leads_to("/schemas/{type}/{version:number}/retire")
def retire_a_version(desk: Desk) -> None:
    """The newest is listed first."""
    desk.open("/schemas/order.created")
    desk.press("Retire", within=desk.page.get_by_role("region", name="Versions").get_by_role("row").last)
    desk.ask("Retire version 1 of order.created?", answer="Retire")
    desk.read("Version 1 of order.created is retired.")
    assert [each.is_retired for each in desk.seed.bus.stored_schemas("order.created")] == [True, False]


@pytest.mark.chromium
@pytest.mark.parametrize("path", ACTIONS)
def test_an_action_is_done_by_a_person(desk: Desk, path: str) -> None:
    """By what the pages offer alone; the browser sends it where it is told to, and the audit names who did it."""
    newest = desk.seed.bus.audit()[0].id
    [route] = [each for each in changing_routes(desk) if each.path == path]
    sent: list[str] = []

    def note(request: Request) -> None:
        if request.method == "POST":
            sent.append(request.url.removeprefix(desk.url))

    desk.page.on("request", note)
    try:
        ACTIONS[path](desk)
    finally:
        desk.page.remove_listener("request", note)

    assert any(route.path_regex.match(each) for each in sent), sent
    if path not in UNAUDITED:
        entry = desk.seed.bus.audit()[0]
        assert (entry.id > newest, entry.who) == (True, USER), entry


@pytest.mark.chromium
def test_every_action_is_tried_in_a_browser(desk: Desk) -> None:
    """By the routes of the app: whoever adds one adds a person who uses it."""
    assert {route.path for route in changing_routes(desk)} == set(ACTIONS)


def changing_routes(desk: Desk) -> list[Route]:
    """The routes that take anything but a look."""
    routes = [route for route in desk.app.routes if isinstance(route, Route)]
    return [route for route in routes if set(route.methods or ()) - {"GET", "HEAD"}]


@pytest.mark.chromium
@pytest.mark.axe
def test_questions_and_troubles_can_be_used_by_everybody(desk: Desk) -> None:
    """axe-core finds nothing on what is shown between the pages, in both themes: a question, a trial, a refusal, the login."""
    found: list[object] = []

    def look() -> None:
        desk.page.evaluate(AXE.read_text())
        for theme in ("dark", "light"):
            desk.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            found.extend(desk.page.evaluate(_VIOLATIONS))

    desk.kill(2, cause="a9")
    desk.open("/dead/causes/a9")
    desk.page.get_by_label("all open ones that match").check()
    desk.page.get_by_label("retry", exact=True).check()
    desk.page.get_by_label("how many first").fill("1")
    desk.press("Retry")
    desk.read("1 of them are retried first")
    look()
    desk.press("Retry")
    desk.read("whether you watch or not")
    look()
    desk.complaints.expected.append("400 (Bad Request)")
    desk.open("/events?state=sad")
    look()
    desk.leave()
    desk.open("/")
    look()
    log_in(desk)

    assert found == []
