"""What the console says when there is little to show: an empty bus, servers that are away, groups without workers."""

import json
import re
from collections.abc import Iterator
from html import unescape

import pytest

from eventbus import EventBus
from eventbus.console import Role, User, create_app
from eventbus.console.access import LocalOnly
from eventbus.console.page import Live, Shown
from eventbus.console.pages import PAGES
from eventbus.console.settings import ConsoleSettings
from eventbus.embedded.server import free_port
from eventbus.lifecycle.diagnosing import Finding
from eventbus.storage import repairs
from tests.console.client import Client
from tests.console.routes import path_of
from tests.console.seed import Seed, make_bus
from tests.support.statements import statements
from tests.support.waiting import keep_clear_of_the_turn_of_the_hour, wait_until

ENTRIES = [page.path for page in PAGES]


@pytest.fixture
def empty(database_url: str, broker_url: str, prefix: str) -> Iterator[EventBus]:
    """A bus without anything."""
    bus = make_bus(database_url=database_url, broker_url=broker_url, prefix=prefix)
    yield bus
    bus.database.dispose()
    bus.app.close()


@pytest.mark.parametrize("path", ENTRIES)
def test_an_empty_bus_says_what_to_do(empty: EventBus, path: str) -> None:
    """Each page is shown, and says what is missing and how it comes."""
    text = Client(create_app(empty)).text(path)

    if path != "/storage":
        assert 'class="empty"' in text


def test_a_bus_without_dead_letters_says_so(empty: EventBus) -> None:
    """Unless they were looked for: then it is the search that found none."""
    client = Client(create_app(empty))

    assert "There are no open dead letters." in client.text("/dead/letters")
    assert "No dead letter matches." in client.text("/dead/letters?error=sku")


def test_a_page_that_fails_leads_elsewhere(empty: EventBus) -> None:
    """It says who one is and has the navigation, so that nobody has to go back."""
    app = create_app(empty, check=lambda request: User(name="ann", role=Role.VIEWER))

    text = Client(app).text("/groups/nowhere", status=404)

    assert ">ann <" in text
    assert all(f'href="{path}"' in text for path in ENTRIES)


def test_a_bus_without_tables_says_so(servers: object, empty_database_url: str, broker_url: str) -> None:
    """`eventbus migrate` is what helps."""
    bus = make_bus(database_url=empty_database_url, broker_url=broker_url)
    client = Client(create_app(bus))

    for path in ("/", "/audit"):
        text = client.text(path, status=503)
        assert "The tables are not there" in text
        assert "eventbus migrate" in text.replace("&#39;", "'")
    bus.database.dispose()


def asks(seed: Seed, path: str) -> bool:
    """Whether a page needs PostgreSQL."""
    with statements(seed.bus.database) as sent:
        Client(create_app(seed.bus)).get(path, follow_redirects=False)
    return bool(sent)


def test_postgresql_that_is_away_is_said_on_every_page(seed: Seed, broker_url: str) -> None:
    """What is away, where, and what that means; never the password; the console goes on."""
    url = f"postgresql://me:s3cr3t@127.0.0.1:{free_port()}/shop"
    bus = make_bus(database_url=url, broker_url=broker_url)
    client = Client(create_app(bus))

    for page in PAGES:
        for route in page.routes:
            if isinstance(route, Shown) and asks(seed, path_of(route.path, seed)):
                text = client.text(path_of(route.path, seed), status=503)
                assert "PostgreSQL cannot be reached" in text, route.path
                assert ">Try again</a>" in text, route.path
                assert "s3cr3t" not in text, route.path
            elif isinstance(route, Live) and route.path != "/live/replays/new":  # which asks nothing yet
                with client.stream("GET", path_of(route.path, seed)) as stream:
                    first = next(stream.iter_lines())
                assert first == "event: trouble", route.path


def test_a_change_fails_clearly_while_postgresql_is_away(broker_url: str) -> None:
    """Nothing is half done, and the page says so."""
    bus = make_bus(database_url=f"postgresql://me@127.0.0.1:{free_port()}/shop", broker_url=broker_url)
    client = Client(create_app(bus, check=None))
    token_page = client.get("/groups/inventory")
    assert token_page.status_code == 503

    answer = client.post("/groups/inventory/resume", data={"token": "x"})

    assert answer.status_code in (403, 503)


def test_a_broker_that_is_away_hides_nothing(seed: Seed) -> None:
    """Numbers come from PostgreSQL; the overview says what is away, and what waits meanwhile."""
    url = seed.bus.settings.database_url
    bus = make_bus(database_url=url, broker_url=f"redis://:s3cr3t@127.0.0.1:{free_port()}/0")
    client = Client(create_app(bus))

    overview, workers = client.text("/"), client.text("/workers")

    assert "deliveries wait in PostgreSQL meanwhile" in overview
    assert "the broker at redis://:***@127.0.0.1" in overview
    assert "unreachable" in workers
    assert "The broker cannot be reached" in workers
    assert "s3cr3t" not in overview + workers
    for path in (
        "/groups/{group}",
        "/dead/letters",
        "/dead/{letter_id}",
        "/replays",
        "/replays/new",
        "/events/{event_id}",
    ):
        assert "are handled when the broker is back" in client.text(path_of(path, seed)), path
    asked = client.press(f"/dead/{seed.letter_id}", "/dead/retry")
    assert "are handled when the broker is back" in asked.text
    assert "are handled when the broker is back" not in Client(create_app(seed.bus)).text("/dead/letters")
    for page in PAGES:
        for route in page.routes:
            if isinstance(route, Shown) and not route.path.endswith("/find"):
                assert client.get(path_of(route.path, seed)).status_code == 200, route.path
    bus.database.dispose()


def test_a_group_without_workers_says_what_to_start(client: Client) -> None:
    """On its own page, and first of all on the overview."""
    assert "eventbus -A MODULE worker archive" in client.text("/groups/archive")
    assert "not while it is paused" in client.text("/groups/analytics")
    overview = client.text("/")
    assert overview.index("archive has no worker") < overview.index("analytics is paused")


def test_a_relay_is_as_well_as_its_findings_say(own_seed: Seed) -> None:
    """It is no proof of it that a worker lives; one that serves no group runs none."""

    def relay() -> str:
        text = unescape(Client(create_app(own_seed.bus)).text("/"))
        return text.partition("<dt>Relay</dt>")[2].partition("</dl>")[0]

    well = relay()
    keep_clear_of_the_turn_of_the_hour()
    with own_seed.bus.database.autocommit() as connection:
        repairs.note(connection, {"inventory": 1001})
        connection.change("UPDATE eventbus.worker SET groups = '{}' WHERE name = 'worker-2@host'")
    repairing = relay()
    with own_seed.bus.database.autocommit() as connection:
        connection.change("UPDATE eventbus.worker SET groups = '{}'")
    idle = relay()

    assert '<span class="badge ok">ok</span> runs in 2 workers; 0 wake-ups' in well
    assert '<span class="badge fault">fault</span> runs in 1 worker; 1,001 wake-ups' in repairing
    assert "1 alive</a>; 1 serves no group" in repairing
    assert '<span class="badge fault">fault</span> no worker runs one; 1,001 wake-ups' in idle
    assert all("A separate 'eventbus relay' is not shown here" in text for text in (well, repairing, idle))


def without_times(text: str) -> str:
    """*text* without what differs from one second to the next."""
    return re.sub(r"[\d.]+ (ms|s|min|h|d)\b", "", text)


def test_numbers_are_those_of_the_command_line(seed: Seed, client: Client) -> None:
    """The same read model: what the overview says is what `eventbus stats` and `eventbus doctor` say."""
    stats, text = seed.bus.stats(), client.text("/")
    figures = [part.partition("</span>")[0] for part in text.split('<span class="figure">')[1:]]

    assert figures[:3] == [f"{stats.published:,}", f"{stats.consumed:,}", f"{sum(stats.queue_depths.values()):,}"]
    assert figures[4] == f"{stats.dead:,}"

    def differing() -> list[Finding]:
        """Once the page is read anew: a group may have become late between the two looks."""
        findings, text = seed.bus.diagnose(), without_times(unescape(client.text("/")))
        return [
            finding
            for finding in findings
            if (without_times(finding.sentence) in text)
            != (finding.level != "ok" or finding.check in ("database", "broker"))
        ]

    wait_until(lambda: not differing(), timeout=40, message=lambda: f"{differing()} on the overview")


def test_every_change_is_in_the_audit_under_its_users_name(own_seed: Seed) -> None:
    """Who was logged in, not whose process it is."""
    app = create_app(own_seed.bus, check=lambda request: User(name="carol@example.com", role=Role.OPERATOR))
    client = Client(app)

    question = client.press("/groups/inventory", "/groups/inventory/pause")
    assert own_seed.bus.group_details("inventory").group.paused is False
    done = client.submit(question.text, "/groups/inventory/pause")
    again = client.text("/groups/inventory")

    assert "inventory is paused." in done.text
    assert 'role="status">inventory is paused.' not in again
    assert own_seed.bus.group_details("inventory").group.paused is True
    entry = own_seed.bus.audit()[0]
    assert (entry.who, entry.action, entry.filter, entry.changed) == (
        "carol@example.com",
        "groups pause",
        {"group": "inventory"},
        1,
    )
    assert "carol@example.com" in client.text("/audit")
    client.press("/groups/inventory", "/groups/inventory/resume")
    assert own_seed.bus.group_details("inventory").group.paused is False


def test_workers_lead_to_flower_where_there_is_one(seed: Seed, client: Client) -> None:
    """To the page of each; without its address, nowhere."""
    settings = ConsoleSettings(access=LocalOnly(), flower_url="http://flower.example:5555/base")

    text = Client(create_app(seed.bus, settings=settings)).text("/workers")

    assert 'href="http://flower.example:5555/base/worker/worker-1%40host"' in text
    assert 'href="http://flower.example:5555/base/broker"' in text
    assert "flower" not in client.text("/workers")


@pytest.mark.parametrize("where", ["event", "replay", "letter", "story", "nothing"])
def test_an_id_leads_to_what_it_names(seed: Seed, client: Client, where: str) -> None:
    """As logs, the command line and Flower show it."""
    text, path = {
        "event": (f"('order.created {seed.order.id}',)", f"/events/{seed.order.id}"),
        "replay": (str(seed.replay_id).upper(), f"/replays/{seed.replay_id}"),
        "letter": (f" {seed.letter_id} ", f"/dead/{seed.letter_id}"),
        "story": ("o 47&11", "/events?correlation_id=o+47%2611"),
        "nothing": ("", "/"),
    }[where]

    answer = client.get("/find", params={"id": text}, follow_redirects=False)

    assert (answer.status_code, answer.headers["location"]) == (303, path)


def test_what_is_drawn_is_told_in_numbers(client: Client, seed: Seed) -> None:
    """Charts, lines and bars, to those who hear a page."""
    overview, group = client.text("/"), client.text("/groups/inventory")

    assert re.search(
        r'aria-label="Published, handled and failed [^"]*: \d+ published, \d+ handled, \d+ failed"', overview
    )
    assert re.search(r'aria-label="Arrived, handled and failed [^"]*: \d+ arrived, \d+ handled, \d+ failed"', group)
    for text in (overview, client.text("/groups")):
        assert re.search(r'aria-label="Handled by inventory [^"]*: \d+ in all"', text)
    assert '<progress aria-label="Deliveries to inventory dealt with"' in client.text("/replays")
    assert '<progress aria-label="Deliveries dealt with"' in client.text(f"/replays/{seed.replay_id}")


def parts_of(text: str, opening: str, closing: str, name: str) -> str:
    """The text between tags of the only part of a page that has a link to the group called *name*."""
    parts = [part.partition(closing)[0] for part in text.split(opening)[1:]]
    [found] = [part for part in parts if f'<a href="/groups/{name}">' in part]
    return " ".join(re.sub("<[^>]*>", " ", found.partition(">")[2]).split())


def test_a_tile_says_how_a_group_stands(client: Client) -> None:
    """Lag, what is open, what is dead, and how many runs fail; paused or without workers; the last hour in small."""
    text = client.text("/")
    tiles = {
        name: parts_of(text, '<li class="tile ', "</li>", name) for name in ("archive", "analytics", "notification")
    }

    assert re.fullmatch(r"archive no worker lag (?!0 s).+ open 4 dead 0 errors -", tiles["archive"])
    assert re.fullmatch(r"analytics paused lag (?!0 s).+ open 4 dead 0 errors -", tiles["analytics"])
    assert re.fullmatch(r"notification lag .+ open 1 dead 2 errors 100%", tiles["notification"])
    assert len(re.findall(r'<polyline points="(?:[\d.]+,[\d.]+ ?){60}"/>', text)) == 4


def test_the_broker_is_shown_beside_postgresql(client: Client) -> None:
    """What waits in a queue, what is open and what runs: group by group, side by side."""
    queues = client.text("/workers").partition('id="queues"')[2]
    rows = {name: parts_of(queues, "<tr ", "</tr>", name).split() for name in ("inventory", "notification")}

    # Nobody has taken a message.
    assert rows["inventory"][1:5] == ["inventory", "5", "1", "0"]
    assert rows["notification"][1:5] == ["notification", "3", "1", "0"]


def test_a_groups_page_says_all_about_it(client: Client) -> None:
    """Lag, backlog, handler times, errors, throughput, subscriptions, workers and their versions."""
    text = client.text("/groups/notification")

    for part in (
        "p50 ",
        "p95 ",
        "p99 ",
        "100 runs in the last hour",
        "1 retrying",
        "worker-1@host",
        "0.1.0",
        "order.created",
        "arrived per minute, in the last five minutes",
    ):
        assert part in text, part
    [data] = re.findall('id="throughput-data" hidden>([^<]*)<', text)
    chart = json.loads(unescape(data))
    assert [each["label"] for each in chart["series"]] == ["arrived", "handled", "failed"]
    assert {len(each["values"]) for each in chart["series"]} == {len(chart["at"])} == {60}
