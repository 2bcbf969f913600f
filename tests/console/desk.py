"""A desk: an operator before a browser that has logged in to the console of a bus with a bit of everything, for a file of tests."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect
from starlette.applications import Starlette

from eventbus.console import Role, create_app
from eventbus.console.settings import ConsoleSettings
from eventbus.console.users import Passwords, UserFile, user_line
from tests.console.seed import Seed
from tests.console.serving import serving
from tests.support.browser import Complaints
from tests.support.rows import Rows

USER, PASSWORD = "alice", "correct horse battery"
#: Of all consoles of the bus.
SECRET = "one secret of several consoles, and long enough"
_KILL = """
WITH died AS (
    UPDATE eventbus.delivery SET state = 'dead', finished_at = now(), last_error = 'ValueError: no stock'
    WHERE group_name = 'archive' AND event_id = ANY (%s::uuid[]) RETURNING event_id
)
INSERT INTO eventbus.dead_letter (event_id, group_name, type, attempts, deaths, error_type, error_message, traceback, fingerprint)
SELECT event_id, 'archive', 'load.made', 1, 0, 'ValueError', 'no stock', 'tb', %s FROM died ORDER BY event_id RETURNING id
"""
_CAUSE = """
INSERT INTO eventbus.fingerprint (fingerprint, error_type, gist, place, groups, occurrences, news_occurrence)
VALUES (%s, 'ValueError', 'no stock', 'stock.py:reserve', '{archive}', %s, 1)
"""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What a test finds on it."""

    seed: Seed
    app: Starlette
    url: str
    page: Page
    rows: Rows
    complaints: Complaints

    def open(self, path: str) -> None:
        """Show the page at *path*."""
        self.page.goto(self.url + path)

    def leave(self) -> None:
        """Be somebody whom the console does not know, on no page of it."""
        self.page.goto("about:blank")
        self.page.context.clear_cookies()

    def press(self, name: str, *, within: Locator | None = None) -> None:
        """Press the button of that name."""
        (within or self.page).get_by_role("button", name=name, exact=True).click()

    def read(self, notice: str) -> None:
        """Wait until the page says so."""
        expect(self.page.get_by_role("main")).to_contain_text(notice)

    def ask(self, question: str, *, answer: str) -> None:
        """Wait for *question*, and press the button that says *answer*."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(question)
        self.press(answer)

    def kill(self, count: int, *, cause: str) -> list[int]:
        """*count* new dead letters of archive, of a cause of their own; their ids, which rise."""
        self.rows.all(_CAUSE, cause, count)
        return self.kill_more(count, cause=cause)

    def kill_more(self, count: int = 1, *, cause: str) -> list[int]:
        """As many more of a cause that is known."""
        events = [self.seed.bus.publish("load.made", {"number": number}, source="tests") for number in range(count)]
        ids = [id for (id,) in self.rows.all(_KILL, [str(event.id) for event in events], cause)]
        return sorted(ids)

    def finish(self) -> None:
        """Let all deliveries of archive that wait be handled."""
        self.rows.all(
            "UPDATE eventbus.delivery SET state = 'done', finished_at = now() "
            "WHERE group_name = 'archive' AND state = 'pending'"
        )


@contextmanager
def sitting_down(seed: Seed, browser: Browser, users: Path) -> Iterator[Desk]:
    """A desk at the console of *seed*, logged in; the page must neither complain nor ask anybody else."""
    users.write_text(user_line(USER, Role.OPERATOR, PASSWORD, cost=1 << 10))
    app = create_app(seed.bus, settings=ConsoleSettings(access=Passwords(UserFile(users)), secret=SECRET))
    database_url = seed.bus.settings.database_url.replace("+psycopg2", "")
    with serving(app) as url, closing(Rows(database_url)) as rows, closing(browser.new_context()) as context:
        page = context.new_page()
        complaints = Complaints(origin=url)
        complaints.watch(page)
        desk = Desk(seed=seed, app=app, url=url, page=page, rows=rows, complaints=complaints)
        desk.open("/")
        log_in(desk)
        yield desk
    assert complaints.found == []


def log_in(desk: Desk) -> None:
    """Fill in the form of the login that is shown."""
    desk.page.get_by_label("Name").fill(USER)
    desk.page.get_by_label("Password").fill(PASSWORD)
    desk.press("Log in")
    expect(desk.page.get_by_role("banner")).to_contain_text(f"{USER} (operator)")
