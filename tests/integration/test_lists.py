"""Lists: every one has the same options, pages that follow each other, stable names, and filters that narrow it."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import click
import pexpect
import pytest

from eventbus import EventBus
from eventbus.cli.app import eventbus
from eventbus.errors import InvalidInput
from eventbus.lifecycle.auditing import acting_as
from eventbus.storage import workers
from eventbus.storage.workers import Worker
from tests.integration.conftest import Run
from tests.support.rows import Rows
from tests.support.workers import ROOT

LISTS = {
    "events list": "id type version source created_at correlation_id causation_id headers data",
    "groups list": "group pattern handler queue paused last_seen_at",
    "dead list": "id group type event_id attempts deaths error_type error_message fingerprint failed_at status",
    "dead fingerprints": "fingerprint state open occurrences error_type gist place groups first_seen_at last_seen_at state_since "
    "newest_id note",
    "replay list": "id state quiet_seconds group pattern since until seen total delivered skipped rate requested_by created_at "
    "finished_at",
    "audit": "id who action filter asked changed result began_at ended_at",
    "schema list": "type version compatibility state owner fingerprint registered_at description",
    "schema parked": "group type version deliveries since oldest_event reason",
    "workers": "name host pid pool concurrency version groups started_at seen_at id",
}


def leaves(command: click.Command = eventbus, *words: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with the words that call it."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from leaves(found, *words, name)
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield " ".join(words), command


def options(command: click.Command) -> set[str]:
    """The options of a command."""
    return {name for parameter in command.params for name in parameter.opts}


@pytest.fixture
def full(bus: EventBus, environment: object, rows: Rows) -> EventBus:
    """A bus with three of everything that is listed."""
    for name in ("a", "b"):
        bus.subscribe("order.*", group=name, handler=lambda event: None)
    bus.subscribe("user.seen", group="b", handler=lambda event: None)
    bus.sync()
    bus.pause_group("b")
    for number, type in enumerate(("order.created", "order.paid", "user.seen")):
        event = bus.publish(type, {"number": number}, source="tests", correlation_id=f"c{number}")
        rows.all(LETTER, str(event.id), type, f"error {number}", f"f{number}")
        rows.all(PARK, number + 1, str(event.id))
        rows.all(SCHEMA, type, number + 1, "orders" if number else None, "old" if number == 1 else None, number)
        with bus.database.autocommit() as connection:
            workers.beat(connection, Worker(id=uuid4(), name=f"w{number}@h", groups=["ab"[number % 2]], **WORKER))
    rows.all(CAUSES)
    for group in ("a", "b", "b"):
        bus.replay("order.created", group=group, since="1h")
    rows.all("UPDATE eventbus.delivery SET state = 'parked', due_at = 'infinity', finished_at = NULL, last_error = 'v'")
    with acting_as("ann@h"):
        bus.resume_group("b")
    return bus


LETTER = """
INSERT INTO eventbus.dead_letter (event_id, group_name, type, attempts, deaths, error_type, error_message, traceback, fingerprint)
VALUES (%s, 'b', %s, 1, 0, 'E', %s, 't', %s)
"""
CAUSES = """
INSERT INTO eventbus.fingerprint (fingerprint, error_type, gist, place, groups, occurrences, first_seen_at, last_seen_at)
SELECT fingerprint, error_type, 'error ?', 'b', ARRAY[group_name], 1, failed_at, failed_at FROM eventbus.dead_letter
"""
PARK = "UPDATE eventbus.event_log SET version = %s WHERE id = %s"
SCHEMA = """
INSERT INTO eventbus.event_schema (type, version, json_schema, wire_fingerprint, text_fingerprint, compatibility, owner,
    deprecation, registered_by, revision) VALUES (%s, %s, '{}', repeat('0', 64), repeat('0', 64), 'FULL', %s, %s, 'me', %s)
"""
WORKER: dict[str, Any] = {"host": "h", "pid": 1, "pool": "solo", "concurrency": 1, "version": "0"}


def listed(run_here: Run, *words: str) -> list[dict[str, Any]]:
    """What a list prints for a program."""
    done = run_here(*words, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_list_has_the_same_options() -> None:
    """A command whose name says list, or which has a cursor, is one of those that are tried below."""
    found = {name for name, command in leaves() if "list" in name.split() or "--cursor" in options(command)}

    assert found == set(LISTS)
    for name, command in leaves():
        if name in LISTS:
            assert {"--json", "--limit", "--cursor"} <= options(command), name


def test_pages_of_every_list_follow_each_other(full: EventBus, run_here: Run) -> None:
    """One item a page, from the first to the last, under stable names; in a pipe lines of the same."""
    for name in LISTS:
        turn_pages(name, run_here)


def turn_pages(name: str, run_here: Run) -> None:
    """Read a list in one page and in pages of one item."""
    whole = listed(run_here, *name.split())
    cursor: list[str] = []
    pages = []
    while len(pages) <= len(whole):
        done = run_here(*name.split(), "--limit", "1", *cursor, "--json")
        pages += [json.loads(line) for line in done.stdout.splitlines()]
        if "--cursor" not in done.stderr:
            break
        cursor = ["--cursor", done.stderr.split("--cursor ")[1].strip()]
    lines = run_here(*name.split()).stdout.splitlines()

    assert len(whole) >= 3, name
    assert {" ".join(item) for item in whole} == {LISTS[name]}
    assert [steady(item) for item in pages] == [steady(item) for item in whole]
    assert [line.count("\t") for line in lines] == [len(LISTS[name].split()) - 1] * len(whole) or name == "events list"


def steady(item: dict[str, Any]) -> dict[str, Any]:
    """An item without what changes by itself."""
    return {name: value for name, value in item.items() if name != "quiet_seconds"}


#: How many of three of everything are left.
FILTERS = {
    "events list order.*": 2,
    "events list --group b --state parked": 3,
    "events list --error v --correlation-id c1": 1,
    "groups list --type order.created": 2,
    "groups list --type order.#": 2,
    "groups list --group b": 2,
    "groups list --state paused": 0,
    "groups list --state active --group a": 1,
    "dead list --type order.* --error 1": 1,
    "dead list --fingerprint f1": 1,
    "dead fingerprints --state new --group b": 3,
    "dead fingerprints --state resolved": 0,
    "dead fingerprints --group a": 0,
    "replay list --group b": 2,
    "replay list --group b --state done": 2,
    "replay list --state interrupted": 0,
    "replay list --since 1h": 3,
    "replay list --until 1h": 0,
    "audit --action groups": 2,
    "audit --action groups --who ann@h": 1,
    "audit --action replay --group a": 1,
    "audit --result done --since 1h --group b": 4,
    "audit --result failed": 0,
    "audit --until 1h": 0,
    "schema list order.*": 2,
    "schema list --state deprecated": 1,
    "schema list --state retired": 0,
    "schema list --owner orders --state live": 1,
    "schema parked --group a": 2,
    "schema parked --type order.paid": 2,
    "workers --group a": 2,
    "workers --here": 0,
}
#: What no list can be asked for.
REFUSED = (
    "groups list --cursor a",
    "schema list --cursor order.created:x",
    "groups list --type order.#.x",
    "groups list --group A",
    "dead fingerprints --group A",
    "dead fingerprints --cursor x",
    "replay list --group A",
    "replay list --since yesterday",
    "replay list --since 1h --until 2h",
    "events list --since 1h --until 1h",
    "audit --since yesterday",
    "schema list order.#.x",
    "schema parked --type order.#.x",
    "workers --group A",
    "events list --limit 0",
    "events list --limit 1001",
    "events list --cursor x",
)


def test_filters_narrow_every_list(full: EventBus, run_here: Run) -> None:
    """All that is given must hold; a list that is empty says so to a person, and is empty for a program."""
    found = {words: len(listed(run_here, *words.split())) for words in FILTERS}
    shown = {words: run_here(*words.split()) for words in FILTERS}

    assert found == FILTERS
    assert {words for words, done in shown.items() if not done.stdout} == {
        words for words, count in FILTERS.items() if not count
    }
    assert all(done.stdout or done.stderr.startswith(("no ", "nobody ")) for done in shown.values())


def test_a_filter_that_cannot_be_is_bad_input(full: EventBus, run_here: Run) -> None:
    """An empty list would be taken for an answer."""
    done = {words: run_here(*words.split()) for words in REFUSED}

    assert {words: (ended.returncode, ended.stdout) for words, ended in done.items()} == dict.fromkeys(REFUSED, (2, ""))
    with pytest.raises(InvalidInput, match="must be one of"):
        full.replays(state="stopped")


def test_a_window_begins_with_since_and_ends_before_until(full: EventBus) -> None:
    """To the microsecond, in every list that has one: two windows that touch share nothing and miss nothing."""
    lists: dict[str, Callable[..., Any]] = {
        "events created_at": full.events,
        "dead_letters failed_at": full.dead_letters,
        "replays created_at": full.replays,
        "audit began_at": full.audit,
    }
    for name, look in lists.items():
        _, time = name.split()
        whole = items(look())
        between = getattr(whole[1], time)
        assert [item.id for item in items(look(since=between))] == [item.id for item in whole[:2]], name
        assert [item.id for item in items(look(until=between))] == [item.id for item in whole[2:]], name


def items(listed: Any) -> list[Any]:
    """What a page, or a plain list, holds."""
    return list(getattr(listed, "items", listed))


def test_a_page_of_every_list_has_one_to_a_thousand_items(bus: EventBus) -> None:
    """In a program as on the command line, and in the same words."""
    lists: list[Callable[..., object]] = [bus.events, bus.dead_letters, bus.fingerprints, bus.replays, bus.audit]
    for look in lists:
        for limit in (1, 1000):
            look(limit=limit)
        for refused in (0, -1, 1001, 1.0, "10", None, True):
            with pytest.raises(InvalidInput, match=re.escape(f"limit={refused!r} must lie between 1 and 1000.")):
                look(limit=refused)


def test_every_command_shows_an_example() -> None:
    """On the page where one looks for it; of itself."""
    silent = [name for name, command in leaves() if name not in (command.help or "").partition("Example")[2]]

    assert silent == []


#: Views that are no lists.
VIEWS = ("doctor", "stats", "groups show b", "trace c0", "dead show 1")
SHOWING = """
import sys
from eventbus.cli import main
for words in sys.argv[1:]:
    print("=====", words, flush=True)
    try:
        main(words.split())
    except SystemExit as ended:
        print("-----", ended.code, flush=True)
"""


@pytest.mark.parametrize("width", [40, 200])
def test_views_are_coloured_on_a_terminal_and_plain_in_a_pipe(
    width: int, full: EventBus, environment: dict[str, str], run_here: Run
) -> None:
    """All of them, on wide terminals and on narrow ones, where no table is shredded."""
    variables = {**os.environ, **environment, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    variables.pop("COLUMNS", None)
    words = [*LISTS, *VIEWS]
    child: pexpect.spawn[str] = pexpect.spawn(
        sys.executable,
        ["-c", SHOWING, *words],
        env=variables,  # type: ignore[arg-type]
        encoding="utf-8",
        timeout=60,
        dimensions=(50, width),
    )
    child.expect(pexpect.EOF)
    shown = dict(part.split("\r\n", 1) for part in (child.before or "").split("===== ")[1:])
    child.close()
    piped = {view: run_here(*view.split()).stdout for view in words}

    assert list(shown) == words
    assert "Traceback" not in (child.before or "")
    assert {view for view, text in shown.items() if "\x1b[" not in text} == set()
    assert {view for view, text in piped.items() if "\x1b" in text or not text} == set()
    # Each item is a block of lines of its own, or they are the rows of one table.
    assert ("\r\n\r\n" in shown["dead list"]) == (width == 40)
