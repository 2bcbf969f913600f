"""Every page: it is shown, within its budget of statements, and behaves in a browser whoever looks at it and how."""

import pytest

from eventbus.console import create_app
from eventbus.console.page import Shown
from eventbus.console.pages import PAGES
from tests.console.client import Client
from tests.console.conftest import OpenPage
from tests.console.routes import pages_of, path_of
from tests.console.seed import Seed
from tests.support.statements import statements

SHOWN = [route for page in PAGES for route in page.routes if isinstance(route, Shown)]

#: What else makes a page look.
ASKING = {"/events/{event_id:uuid}/why": "?group=notification", "/find": "?id={event_id}"}


@pytest.mark.parametrize("route", SHOWN, ids=lambda route: route.path)
def test_a_page_keeps_to_its_budget(seed: Seed, route: Shown) -> None:
    """No page asks the database more often than it says, even if it is the first one that a console shows."""
    path = path_of(route.path + ASKING.get(route.path, ""), seed)

    with Client(create_app(seed.bus)) as client, statements(seed.bus.database) as sent:
        answer = client.get(path, follow_redirects=False)

    assert answer.status_code in (200, 303)
    assert len(sent) <= route.budget, sent


@pytest.mark.chromium
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_every_page_is_readable(seed: Seed, served: str, open_page: OpenPage, theme: str, width: int) -> None:
    """In both themes, wide and narrow: nothing sticks out, nothing complains, and nothing that is evil runs."""
    page = open_page(served, theme=theme, width=width)

    for path in pages_of(seed):
        page.goto(served + path)
        assert page.locator("h1").count() == 1, path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.evaluate("window.evil") is None, path
