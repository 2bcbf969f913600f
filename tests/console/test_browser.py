"""The console in Chromium: numbers that move, the keyboard, colours, times; and what a screen reader finds."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from eventbus.console import Role, create_app
from eventbus.console.settings import ConsoleSettings
from eventbus.console.users import Passwords, UserFile, user_line
from tests.console.conftest import OpenPage
from tests.console.routes import pages_of
from tests.console.seed import Seed
from tests.console.serving import serving
from tests.support.requirements import AXE

pytestmark = pytest.mark.chromium

#: What a browser says of a tab that its user has left, or come back to.
HIDE = """
Object.defineProperty(document, 'hidden', {value: %s, configurable: true});
document.dispatchEvent(new Event('visibilitychange'));
"""


def published(page: Page) -> Any:
    """The number of events on the overview."""
    return page.locator("#figures li", has_text="Published").locator(".figure")


@pytest.mark.axe
@pytest.mark.parametrize(("theme", "width"), [("light", 400), ("dark", 1200)])
def test_every_page_can_be_used_by_everybody(
    seed: Seed, served: str, open_page: OpenPage, theme: str, width: int
) -> None:
    """axe-core finds nothing: contrasts, names, labels, landmarks, order of headings."""
    page = open_page(served, theme=theme, width=width)
    script = AXE.read_text()

    found = []
    for path in pages_of(seed):
        page.goto(served + path)
        page.evaluate(script)
        violations = page.evaluate("axe.run().then(result => result.violations)")
        found += [(path, item["id"], [node["html"] for node in item["nodes"]]) for item in violations]

    assert found == []


def test_numbers_move_without_a_reload_and_stop_when_the_tab_is_hidden(
    own_seed: Seed, own_served: str, open_page: OpenPage
) -> None:
    """An event is counted before one's eyes; a tab that nobody looks at asks nothing, and catches up when it is looked at."""
    page = open_page(own_served)
    expect(published(page)).to_have_text("4")
    page.evaluate("window.sameDocument = true")

    own_seed.bus.publish("order.paid", {}, source="tests")
    expect(published(page)).to_have_text("5", timeout=15_000)

    page.evaluate(HIDE % "true")
    expect(page.locator("html")).to_have_attribute("data-live-state", "closed")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    own_seed.bus.publish("order.paid", {}, source="tests")
    page.wait_for_function("start => performance.now() - start > 2500", arg=page.evaluate("performance.now()"))
    expect(published(page)).to_have_text("5")
    assert requests == []

    page.evaluate(HIDE % "false")
    expect(published(page)).to_have_text("6", timeout=15_000)
    assert page.evaluate("window.sameDocument") is True


def test_a_tab_whose_session_ended_unseen_leads_to_the_login(seed: Seed, open_page: OpenPage, tmp_path: Path) -> None:
    """Rather than to say for ever that there is no connection."""
    path = tmp_path / "users"
    path.write_text(user_line("alice", Role.VIEWER, "correct horse battery", cost=1 << 10))
    with serving(create_app(seed.bus, settings=ConsoleSettings(access=Passwords(UserFile(path))))) as url:
        page = open_page(url, expected=("401 (Unauthorized)",))
        page.get_by_label("Name").fill("alice")
        page.get_by_label("Password").fill("correct horse battery")
        page.keyboard.press("Enter")
        expect(page.locator("html")).to_have_attribute("data-live-state", "open")
        page.evaluate(HIDE % "true")
        path.write_text(user_line("alice", Role.VIEWER, "another password", cost=1 << 10))

        page.evaluate(HIDE % "false")

        expect(page).to_have_url(re.compile("/login"), timeout=15_000)


def test_charts_are_drawn_in_the_themes_colours(served: str, open_page: OpenPage) -> None:
    """On a group's page; in colours that fit the theme when it changes."""
    page = open_page(f"{served}/groups/notification")

    expect(page.locator(".chart canvas")).to_have_count(1)
    expect(page.locator(".u-legend")).to_contain_text("handled")
    page.locator("#theme").click()
    expect(page.locator(".chart canvas")).to_have_count(1)


def test_everything_is_reached_by_the_keyboard(own_seed: Seed, own_served: str, open_page: OpenPage) -> None:
    """Help, filter, rows, pages; a group is found and paused without a mouse, and the focus is always to be seen."""
    page = open_page(own_served)
    keyboard = page.keyboard

    keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    keyboard.press("/")
    expect(page.locator("input[type=search]")).to_be_focused()
    keyboard.type("j/k?")
    expect(page.locator("input[type=search]")).to_have_value("j/k?")
    keyboard.press("Escape")

    keyboard.press("g")
    keyboard.press("g")
    expect(page).to_have_url(f"{own_served}/groups")
    for place in ("schemas", "storage", "schemas"):
        page.wait_for_load_state()  # before, nobody hears a key
        keyboard.press("g")
        keyboard.press("s")
        expect(page).to_have_url(f"{own_served}/{place}")
    page.goto(f"{own_served}/groups")
    keyboard.press("j")
    keyboard.press("j")
    keyboard.press("k")
    expect(page.locator("[data-row]").first).to_be_focused()
    first = page.locator("[data-row] a").first.inner_text()
    keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(first)

    page.goto(f"{own_served}/groups/inventory")
    _tab_to(page, "Pause")
    keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Pause inventory?")
    _tab_to(page, "Pause")
    keyboard.press("Enter")
    expect(page.locator(".banner.ok")).to_have_text("inventory is paused.")
    assert own_seed.bus.group_details("inventory").group.paused


def test_a_row_keeps_its_focus_while_numbers_move(own_seed: Seed, own_served: str, open_page: OpenPage) -> None:
    """Whoever works with the keyboard is not thrown back to the top every two seconds."""
    page = open_page(own_served)
    link = page.locator("#groups a").first
    name = link.inner_text()
    link.focus()

    own_seed.bus.publish("order.paid", {}, source="tests")
    expect(published(page)).to_have_text("5", timeout=15_000)

    assert page.evaluate("document.activeElement.textContent") == name


def test_times_are_the_readers_with_utc_on_hover(seed: Seed, served: str, open_page: OpenPage) -> None:
    """Tokyo is nine hours ahead."""
    page = open_page(f"{served}/audit")
    shown = page.locator("time").first
    at = seed.bus.audit()[0].began_at

    expect(shown).to_have_attribute("title", f"{at:%Y-%m-%d %H:%M:%S} UTC")
    assert f"{(at.hour + 9) % 24 % 12 or 12:02d}:{at:%M:%S}" in shown.inner_text()


def test_colours_are_the_readers(served: str, open_page: OpenPage) -> None:
    """As the system has them, or as chosen; what was chosen is kept."""
    page = open_page(f"{served}/audit", theme="dark")
    back = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(back)

    page.locator("#theme").click()
    light = page.evaluate(back)
    page.reload()

    assert (dark, light, page.evaluate(back)) == ("rgb(21, 24, 28)", "rgb(255, 255, 255)", "rgb(255, 255, 255)")
    page.locator("#theme").click()
    page.locator("#theme").click()
    assert page.evaluate(back) == dark


def test_an_id_leads_to_what_it_names(seed: Seed, served: str, open_page: OpenPage) -> None:
    """As Flower shows it in a task's arguments: the way back from there; nonsense leads to a story that is not there."""
    page = open_page(served, expected=("404",))

    page.locator("input[name=id]").fill("(order.created 00000000-0000-7000-8000-000000000000)")
    page.keyboard.press("Enter")

    expect(page.locator("h1")).to_have_text("Not found")


def test_a_button_copies(seed: Seed, served: str, open_page: OpenPage) -> None:
    """What stands beside it, to the clipboard; where the browser does not let the page, as over plain http, it is said."""
    id = str(seed.order.id)
    page = open_page(f"{served}/events/{id}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    # What comes would take the place of what is said.
    page.evaluate(HIDE % "true")
    expect(page.locator("html")).to_have_attribute("data-live-state", "closed")

    page.get_by_role("button", name="Copy the id").click()
    expect(page.locator("#live-state")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Copy as CLI").click()
    page.wait_for_function("id => navigator.clipboard.readText().then(text => text.includes(` show ${id}`))", arg=id)
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.get_by_role("button", name="Copy the id").click()

    expect(page.locator("#live-state")).to_have_text("The browser does not let this page copy.")
    assert copied == id


def _tab_to(page: Page, label: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName + document.activeElement.textContent") == f"BUTTON{label}":
            return
    raise AssertionError(f"no button {label} is reached by Tab")
