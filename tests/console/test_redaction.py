"""Redaction: what EVENTBUS_REDACT names is on no page, in no stream and in no copy; and what is left can be worked with."""

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape

import pytest

from eventbus import Event
from eventbus.console import create_app
from eventbus.console.page import Live, Shown
from eventbus.console.pages import PAGES
from eventbus.embedded import Servers
from tests.console.client import Client
from tests.console.conftest import seeded
from tests.console.routes import path_of
from tests.console.seed import Seed, make_bus
from tests.console.serving import serving
from tests.console.streams import first_pulse
from tests.support.rows import Rows

ROUTES = [route for page in PAGES for route in page.routes]
PATHS = "data.orderId,metadata.correlation_id,metadata.headers.token"
#: Each is what one of these paths holds.
ORDER, STORY, TOKEN = "hush-order-4711", "hush-story-4711", "hush-token-4711"
DIED = """
WITH died AS (
    UPDATE eventbus.delivery SET state = 'dead', finished_at = now(), last_error = 'ValueError: no %(order)s'
    WHERE event_id = '%(id)s' AND group_name = 'notification'
)
INSERT INTO eventbus.dead_letter (event_id, group_name, type, attempts, deaths, error_type, error_message, traceback, fingerprint)
VALUES ('%(id)s', 'notification', 'order.created', 1, 0, 'ValueError', 'no %(order)s', 'ValueError: no %(order)s', 'cafe');
INSERT INTO eventbus.attempt (event_id, group_name, kind, number, error_type, error_message)
VALUES ('%(id)s', 'notification', 'error', 1, 'ValueError', 'no %(order)s');
INSERT INTO eventbus.fingerprint (fingerprint, error_type, gist, place, groups, occurrences, news_occurrence)
VALUES ('cafe', 'ValueError', 'no %(order)s', 'stock.py:reserve', '{notification}', 1, 1)
"""


@dataclass(frozen=True, kw_only=True)
class Hushed:
    """A bus that hides something, and the examples of what it hides."""

    seed: Seed
    event: Event
    examples: dict[str, object]

    def path(self, path: str) -> str:
        """The path of a route, about what is hidden."""
        return path_of(path, self.seed, **self.examples)


@pytest.fixture(scope="module")
def hushed(servers: Servers, template_database: str) -> Iterator[Hushed]:
    """An order whose id is in its error, traceback, cause, notes, and in what operators did about it before it was hidden."""
    with seeded(servers, template_database, redact=PATHS) as seed:
        url = seed.bus.settings.database_url
        data = {"orderId": ORDER, "total": 1}
        event = seed.bus.publish(
            "order.created", data, source="orders", version=1, correlation_id=STORY, headers={"token": TOKEN}
        )
        seed.bus.publish("order.paid", {"orderId": ORDER}, source="billing", correlation_id=STORY)
        rows = Rows(url.replace("+psycopg2", ""))
        rows.all(DIED % {"id": event.id, "order": ORDER})
        rows.close()
        [letter] = seed.bus.dead_letters(fingerprint="cafe").items
        open_bus = make_bus(database_url=url, broker_url=servers.broker_url, prefix=seed.bus.settings.prefix)
        open_bus.note_dead_letter(letter.id, f"asked for {ORDER}")
        open_bus.acknowledge_fingerprint("cafe", note=f"{ORDER} again")
        found = open_bus.freeze_dead_letters(group="notification", error=ORDER, correlation_id=STORY)
        open_bus.discard_dead_letters(group="notification", reason=f"{ORDER} is a test", frozen=found)
        replay = open_bus.replay(group="inventory", correlation_id=STORY)
        open_bus.database.dispose()
        open_bus.app.close()
        examples = {"event_id": event.id, "letter_id": letter.id, "fingerprint": "cafe", "replay_id": replay.id}
        yield Hushed(seed=seed, event=event, examples=examples)


@pytest.fixture
def hushed_client(hushed: Hushed) -> Iterator[Client]:
    """Its console, in this process."""
    with Client(create_app(hushed.seed.bus)) as made:
        yield made


def test_no_page_shows_what_is_hidden(hushed: Hushed, hushed_client: Client) -> None:
    """Neither of events, letters, causes, nor of what was done about them; copies and JSON neither."""
    paths = [hushed.path(route.path) for route in ROUTES if isinstance(route, Shown)]
    more = ["/dead?state=acknowledged", "/dead/letters?status=all", f"/events/{hushed.event.id}/why?group=notification"]

    texts = {path: hushed_client.get(path).text for path in [*paths, *more]}

    assert [path for path, text in texts.items() if "hush-" in text] == []
    shown = texts[f"/events/{hushed.event.id}"]
    assert unescape(shown).count("no [redacted]") == 2
    assert "bus.publish(" in shown
    assert "with [redacted] for what is hidden" in shown


def test_no_stream_tells_what_is_hidden(hushed: Hushed) -> None:
    """As it is, and as it comes."""
    with serving(create_app(hushed.seed.bus)) as url:
        for route in ROUTES:
            if isinstance(route, Live):
                with first_pulse(url + hushed.path(route.path)) as told:
                    assert "hush-" not in json.dumps(told), route.path
        with urllib.request.urlopen(f"{url}/live/events", timeout=20) as stream:
            stream.readline()
            data = {"orderId": ORDER, "total": 7}
            hushed.seed.bus.publish("order.created", data, source="tests", version=1, correlation_id=STORY)
            # How the rows that were there stand comes before it.
            told = []
            while not told or '"id": "events"' not in told[-1]:
                told.append(stream.readline().decode())

    assert "[redacted]" in told[-1]
    assert "hush-" not in "".join(told)


def test_the_story_is_told_without_its_name(hushed: Hushed, hushed_client: Client) -> None:
    """Its events are found for whoever looks at one of them; no link leads to a search that would be refused."""
    text = hushed_client.text(f"/events/{hushed.event.id}")

    assert "order.paid" in text.split("<h2>Story</h2>")[1]
    assert "events?correlation_id=" not in text
    assert "eventbus trace" not in text


@pytest.mark.parametrize(
    "path",
    [
        f"/events?correlation_id={STORY}",
        f"/events?pattern=order.created&since=1h&data.orderId={ORDER}",
        f"/events?error={ORDER}",
        f"/dead/letters?error={ORDER}",
        f"/dead/letters?correlation_id={STORY}",
        f"/replays/new?group=inventory&correlation_id={STORY}&count=1",
    ],
)
def test_nobody_learns_by_asking(hushed: Hushed, hushed_client: Client, path: str) -> None:
    """A search for a guess is refused, rather than answered with what it finds, or with how much."""
    text = hushed_client.refusal(path)

    assert "nobody may look for" in text
    assert "<tr data-row" not in text


def test_what_would_be_refused_is_not_offered(hushed: Hushed, hushed_client: Client) -> None:
    """Unlike on a bus that hides nothing."""
    for path in ("/events", "/dead/letters", "/replays/new"):
        assert 'name="correlation_id"' not in hushed_client.text(path), path
        assert 'name="error"' not in hushed_client.text(path), path
