"""Speed: with a million events and a million open deliveries, every page answers within a tenth of a second."""

import re
import time
from collections.abc import Iterator
from datetime import timedelta
from hashlib import md5
from html import unescape

import pytest

from eventbus.console import create_app
from eventbus.console.page import Shown
from eventbus.console.pages import PAGES
from eventbus.embedded import Servers
from eventbus.lifecycle.counting import count_traffic
from tests.console.client import Client
from tests.console.conftest import seeded
from tests.console.routes import path_of
from tests.console.seed import Seed
from tests.support.million import fill

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(300)]

_SHOWN = [route for page in PAGES for route in page.routes if isinstance(route, Shown)]
#: What makes lists long, or hard to find: each is looked for among a million.
_FILTERED = (
    "/events?pattern=load.%23",
    "/events?pattern=load.type7&since=1d&data.customer.id=99999",
    "/events?group=load-1&state=parked",
    "/events?group=load-dead&state=dead&pattern=load.*",
    "/events?error=nothing+like+that",
    "/events?correlation_id=story-4711",
    "/dead?group=load-dead",
    f"/dead/causes/{md5(b'7').hexdigest()[:16]}",
    "/dead/letters?group=load-dead&error=load+7",
    "/dead/letters?type=load.%23&status=all",
    "/dead/letters?correlation_id=story-10",
)
_REQUESTS, _ROUNDS = 20, 3
_BOUND_SECONDS = 0.1


@pytest.fixture(scope="module")
def crowded(servers: Servers, template_database: str) -> Iterator[Seed]:
    """The seeded bus, and a million events beside it, which workers have counted as they always do."""
    with seeded(servers, template_database) as planted:
        url = planted.bus.settings.database_url.replace("postgresql+psycopg2://", "postgresql://")
        fill(url)
        count_traffic(planted.bus.database, patience=timedelta(minutes=1))
        yield planted


def test_every_page_answers_within_a_tenth_of_a_second(crowded: Seed) -> None:
    """Nineteen of twenty times, and so does the next page of each list: none counts, and none skips rows to get there."""
    client = Client(create_app(crowded.bus))
    shown = [*(path_of(route.path, crowded) for route in _SHOWN), *_FILTERED]
    following = [
        unescape(found) for path in shown for found in re.findall(r'href="([^"]*)" rel="next"', client.get(path).text)
    ]

    # Whatever else the machine does may spoil a round, or two.
    slow = {path: rounds for path in [*shown, *following] if (rounds := _slow_rounds(client, path))}

    assert slow == {}


def _slow_rounds(client: Client, path: str) -> list[float]:
    """The p95 of three rounds, in seconds; none if one of them keeps to the bound."""
    rounds: list[float] = []
    while len(rounds) < _ROUNDS:
        rounds.append(_p95(client, path))
        if rounds[-1] <= _BOUND_SECONDS:
            return []
    return rounds


def _p95(client: Client, path: str) -> float:
    taken = []
    for _ in range(_REQUESTS):
        began = time.perf_counter()
        answer = client.get(path, follow_redirects=False)
        taken.append(time.perf_counter() - began)
        assert answer.status_code in (200, 303), path
    return sorted(taken)[int(_REQUESTS * 0.95) - 1]
