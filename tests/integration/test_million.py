"""A million events: every list and total finds its rows by index, reads no more than it must, and answers soon."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery

from eventbus import EventBus
from eventbus.event import Event
from tests.support.rows import Rows
from tests.support.statements import noted

#: The first one waits until the database is filled.
pytestmark = pytest.mark.timeout(300)

#: Many times what each takes on an idle machine, and a small part of what reading all of it would take.
SOON_SECONDS = 1.0
STORY = "story-100000"


@pytest.fixture(scope="module")
def bus(million_url: str, servers: Any) -> Iterator[EventBus]:
    """A bus on that database, whose events were counted, as workers do all the time."""
    made = EventBus(
        Celery("million", set_as_current=False),
        database_url=million_url,
        broker_url=servers.broker_url,
        prefix="test-million",
    )
    made.recount()
    yield made
    made.database.dispose()
    made.app.close()


@pytest.fixture(scope="module")
def large(million_url: str) -> set[str]:
    """The tables that hold more than a few rows."""
    rows = Rows(million_url)
    found = rows.all(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'eventbus'::regnamespace AND reltuples > 10000 "
        "AND (relname LIKE 'event_log%%' OR relname LIKE 'delivery%%')"
    )
    rows.close()
    assert len(found) == 2
    return {name for (name,) in found}


@pytest.fixture(scope="module")
def one(bus: EventBus) -> Event:
    """Some event in the middle."""
    return bus.story(STORY).events[0]


View = Callable[[EventBus, Event], Any]
VIEWS: dict[str, View] = {
    "events": lambda bus, one: bus.events().items,
    "events: a page in the middle": lambda bus, one: bus.events(cursor=one.id).items,
    "events: of a type": lambda bus, one: bus.events("load.type7").items,
    "events: of a pattern": lambda bus, one: bus.events("*.type7", cursor=one.id).items,
    "events: of many types": lambda bus, one: bus.events("load.*", cursor=one.id).items,
    "events: of a time": lambda bus, one: bus.events("load.*", since=one.created_at).items,
    "events: of a story": lambda bus, one: bus.events(correlation_id=STORY).items,
    "events: of a group": lambda bus, one: bus.events(group="load-3").items,
    "events: of a group and a state": lambda bus, one: bus.events(group="load-dead", state="dead").items,
    "events: with an error": lambda bus, one: bus.events(error="ValueError: load").items,
    "events: nowhere to be found": lambda bus, one: bus.events(group="load-0", error="nothing").looked_at,
    "events: with a value": lambda bus, one: bus.events("load.type7", since="1d", data={"customer.id": "7"}).items,
    "events: with a value that none has": lambda bus, one: (
        bus.events("load.type7", since="1d", data={"customer.id": "x"}).looked_at
    ),
    "event": lambda bus, one: bus.event_details(one.id).standings,
    "trace": lambda bus, one: bus.story(STORY).standings,
    "why": lambda bus, one: bus.explain(one.id, bus.event_details(one.id).standings[0].group),
    "groups": lambda bus, one: bus.groups(),
    "group": lambda bus, one: bus.group_details("load-0").open,
    "dead letters": lambda bus, one: bus.dead_letters().items,
    "dead letters: of a group": lambda bus, one: bus.dead_letters(group="load-dead", type="load.*").items,
    "dead letters: of an error": lambda bus, one: bus.dead_letters(error="load 7", since="1d").items,
    "dead letters: of a story": lambda bus, one: bus.dead_letters(correlation_id="story-10").items,
    "dead letters: that are meant": lambda bus, one: bus.freeze_dead_letters("load.*", group="load-dead").count,
    "open deliveries": lambda bus, one: bus.open_deliveries("load-0"),
    "stats": lambda bus, one: bus.stats().published,
    "metrics": lambda bus, one: bus.measure().published,
    "doctor": lambda bus, one: bus.diagnose(),
    "workers": lambda bus, one: bus.workers(),
    "parked": lambda bus, one: bus.parked(),
    "replays": lambda bus, one: bus.replays(),
    "audit": lambda bus, one: bus.audit(),
}
#: What is empty here.
EMPTY = {"workers", "parked", "replays"}


def scanned(bus: EventBus, statement: str, parameters: Any) -> set[str]:
    """The tables that PostgreSQL would read from end to end."""
    if not statement.lstrip().upper().startswith(("SELECT", "WITH")):
        return set()
    with bus.database.engine.connect() as connection:
        [found] = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
    todo, relations = [found["Plan"]], set()
    while todo:
        node = todo.pop()
        if node["Node Type"] == "Seq Scan":
            relations.add(node["Relation Name"])
        todo.extend(node.get("Plans", ()))
    return relations


@pytest.mark.parametrize("name", VIEWS)
def test_no_view_reads_the_log_or_the_deliveries_from_end_to_end(
    name: str, bus: EventBus, one: Event, large: set[str]
) -> None:
    """Whatever it asks, an index leads there."""
    asked: list[tuple[str, Any]] = []
    with noted(bus.database, lambda statement, parameters: asked.append((statement, parameters))):
        found = VIEWS[name](bus, one)

    # What counts reads what was published since the last count, which here may be all of it.
    asked = [(statement, parameters) for statement, parameters in asked if "INSERT INTO" not in statement]
    assert asked
    assert bool(found) != (name in EMPTY)
    assert [statement for statement, parameters in asked if scanned(bus, statement, parameters) & large] == []


@pytest.mark.alone
def test_every_view_answers_soon(bus: EventBus, one: Event, record_property: Callable[[str, object], None]) -> None:
    """The second time; the first may have to fetch what it reads from the disk."""
    taken: dict[str, float] = {}
    for name, view in VIEWS.items():
        view(bus, one)
        began = time.monotonic()
        view(bus, one)
        taken[name] = round(time.monotonic() - began, 4)
        record_property(name, taken[name])

    assert {name: seconds for name, seconds in taken.items() if seconds > SOON_SECONDS} == {}


def test_a_search_for_a_value_says_how_far_it_looked(bus: EventBus) -> None:
    """At most 10,000 events a page, newest first; the cursor goes on from there until the window's end."""
    page = bus.events("load.type7", since="1d", data={"customer.id": "x"})
    again = bus.events("load.type7", since="1d", data={"customer.id": "x"}, cursor=page.next)

    assert (page.items, page.looked_at) == ((), 10_000)
    assert page.looked_until is not None
    assert again.looked_until is not None
    assert again.looked_until < page.looked_until
