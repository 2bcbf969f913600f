"""Fixtures: one seeded bus for all tests that only look, a client that behaves like a browser, and a browser.

seed ─┬─▶ client        the console in this process, as somebody at this machine would see it; no JavaScript
      └─▶ served ─▶ page   the console on a port, in Chromium; it must not complain, nor ask anybody else
own_seed ─▶ own_client  the same for tests that change something
desk             a person who changes something in a browser, one for all tests of a file
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from eventbus import EventBus
from eventbus.console import create_app, readings
from eventbus.embedded import Servers
from eventbus.embedded.databases import create_database, drop_database
from tests.console.client import Client
from tests.console.desk import Desk, sitting_down
from tests.console.seed import Seed, make_bus, plant
from tests.console.serving import serving
from tests.support.browser import Complaints, running_browser
from tests.support.buses import close_bus

OpenPage = Callable[..., Page]
#: What moves by itself does so every two seconds, and on a busy machine the later.
expect.set_options(timeout=15_000)


@pytest.fixture(scope="session")
def seed(servers: Servers, template_database: str) -> Iterator[Seed]:
    """A bus with a bit of everything: look, and change nothing."""
    with seeded(servers, template_database) as planted:
        yield planted


@pytest.fixture
def own_seed(servers: Servers, template_database: str) -> Iterator[Seed]:
    """The same, for one test that changes something."""
    with seeded(servers, template_database) as planted:
        yield planted


@pytest.fixture
def client(seed: Seed) -> Iterator[Client]:
    """The console of the seeded bus, in this process."""
    with Client(create_app(seed.bus)) as made:
        yield made


@pytest.fixture
def own_client(own_seed: Seed) -> Iterator[Client]:
    """The console of the test's own bus, in this process."""
    with Client(create_app(own_seed.bus)) as made:
        yield made


@pytest.fixture(scope="session")
def served(seed: Seed) -> Iterator[str]:
    """The address of the console of the seeded bus, on a port."""
    with serving(create_app(seed.bus)) as url:
        yield url


@contextmanager
def rested() -> Iterator[None]:
    """Let dear readings rest for as long as they took, not twenty times: one that took a second is not waited for by a browser."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(readings, "_REST", 1.0)
        yield


@pytest.fixture
def own_served(own_seed: Seed) -> Iterator[str]:
    """The address of the console of the test's own bus, on a port."""
    with rested(), serving(create_app(own_seed.bus)) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of a file: while it runs, so does an event loop, which tests of async code cannot stand."""
    with running_browser() as started:
        yield started


@pytest.fixture(scope="module")
def desk(
    servers: Servers, template_database: str, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    """An operator before a browser; one for all tests of a file, each of which brings what it changes."""
    with (
        rested(),
        seeded(servers, template_database) as planted,
        sitting_down(planted, browser, tmp_path_factory.mktemp("users") / "users") as made,
    ):
        yield made


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """A function that opens an address in a context of its own: `open_page(url, theme="dark", width=400)`.

    At the end of the test the page must have had no error, and asked nobody else; what is meant to fail is told by `expected`.
    """
    with ExitStack() as stack:
        watching: list[Complaints] = []

        def open_(url: str, *, theme: Any = "light", width: int = 1200, expected: tuple[str, ...] = ()) -> Page:
            context = browser.new_context(
                color_scheme=theme, viewport={"width": width, "height": 800}, timezone_id="Asia/Tokyo"
            )
            stack.callback(context.close)
            page = context.new_page()
            origin = "/".join(url.split("/")[:3])
            complaints = Complaints(origin=origin, expected=list(expected))
            complaints.watch(page)
            watching.append(complaints)
            page.goto(url)
            return page

        yield open_
        assert [text for complaints in watching for text in complaints.found] == []


@contextmanager
def seeded(servers: Servers, template: str, **settings: str) -> Iterator[Seed]:
    """A bus with a bit of everything in a database of its own, gone afterwards; *settings* are those of the bus."""
    name = f"console_{secrets.token_hex(4)}"
    url = create_database(servers.database_url, name, template=template)
    bus = make_bus(database_url=url, broker_url=servers.broker_url, prefix=name, **settings)
    try:
        with _ending(bus):
            yield plant(bus)
    finally:
        drop_database(servers.database_url, name)


@contextmanager
def _ending(bus: EventBus) -> Iterator[None]:
    try:
        yield
    finally:
        close_bus(bus)
