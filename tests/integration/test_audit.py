"""The audit: every change that an operator makes is kept, with who, what, which, how many, and how it ended."""

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from marshmallow import fields

from eventbus import Event, EventBus, EventSchema
from eventbus.errors import InvalidInput, SchemaEditedInPlace, UnknownDeadLetter, UnknownEventVersion
from eventbus.lifecycle import resolving
from eventbus.lifecycle.auditing import acting_as, audited, whoami
from eventbus.lifecycle.replay_planning import Asked
from eventbus.schemas.acceptance import Acceptance
from eventbus.schemas.findings import Rule
from eventbus.schemas.registry import SchemaRegistry
from tests.integration.conftest import MakeWorker, Run
from tests.integration.test_lists import leaves
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns


def refuse(event: Event) -> None:
    raise ValueError(event.type)


@pytest.fixture
def here(bus: EventBus, worker: MakeWorker, environment: object) -> SingleRuns:
    """A worker of a group whose handler fails."""
    bus.subscribe("order.*", group="stock", handler=refuse, max_retries=0)
    return worker()


def give_up(bus: EventBus, here: SingleRuns) -> None:
    """One more dead letter."""
    bus.publish("order.created", {}, source="tests")
    claimed = here.take("stock")
    assert claimed is not None
    here.fail(claimed, ValueError("no"))


def entries(run_here: Run) -> list[dict[str, Any]]:
    """The audit, oldest first."""
    return [json.loads(line) for line in run_here("audit", "--json").stdout.splitlines()][::-1]


def test_every_change_of_the_command_line_is_kept(bus: EventBus, here: SingleRuns, run_here: Run, rows: Rows) -> None:
    """What only looks is not."""
    give_up(bus, here)
    letter = str(rows.value("SELECT id FROM eventbus.dead_letter"))
    before = rows.count("audit")
    for look in (
        ["dead", "list"],
        ["groups", "list"],
        ["stats"],
        ["replay", "plan", "#", "--group", "stock"],
        ["audit"],
    ):
        assert run_here(*look).returncode == 0
    looked = rows.count("audit")
    changes = [
        (["groups", "pause", "stock"], None, 1),
        (["groups", "pause", "stock"], None, 0),
        (["groups", "resume", "stock"], None, 1),
        (["dead", "note", letter, "mine"], None, 1),
        (["dead", "discard", "--group", "stock", "--reason", "x", "--yes"], 1, 1),
        (["dead", "restore", letter], 1, 1),
        (["dead", "retry", "--group", "stock", "--type", "order.created", "--yes"], 1, 1),
        (["replay", "run", "order.*", "--group", "stock", "--yes"], 1, 1),
        (["stats", "--recount"], None, None),
        (["groups", "remove", "stock", "--yes"], 1, 1),
    ]
    for words, _, _ in changes:
        assert run_here(*words).returncode == 0, words
    found = entries(run_here)

    assert (before, looked) == (0, 0)
    names = [" ".join(words[:2]).replace("--", "") for words, _, _ in changes]
    assert [(item["action"], item["asked"], item["changed"]) for item in found] == [
        (name, asked, changed) for name, (_, asked, changed) in zip(names, changes, strict=True)
    ]
    assert {item["result"] for item in found} == {"done"}
    assert {item["who"] for item in found} == {whoami()}
    assert found[6]["filter"] == {"type": "order.created", "group": "stock"}
    assert found[4]["filter"]["reason"] == "x"
    assert found[7]["filter"]["pattern"] == "order.*"


#: Commands that only look, or print.
LOOKING = {
    *("audit", "completion", "doctor", "grants", "health", "health worker", "metrics", "stats", "tail", "trace", "why"),
    *(
        "dead fingerprints",
        "dead list",
        "dead show",
        "events list",
        "events show",
        "events tail",
        "flower",
        "groups list",
        "groups show",
    ),
    *("replay list", "replay plan", "schema check", "schema diff", "schema export", "schema list", "schema parked"),
    *("schema show", "schema snapshot", "workers", "storage", "console", "console user"),
}
#: Commands that change something by themselves, and why nobody has to be asked who it was.
WITHOUT_A_PERSON = {
    "publish": "the event is its own record, with its source",
    "relay": "does what every worker does",
    "sweep": "does what every worker does",
    "sync": "writes what code declares, as every worker that starts does; --replace is kept",
    "worker": "writes what code declares, and handles",
}
SHOP = """
from celery import Celery
from marshmallow import fields
from eventbus import EventBus, EventSchema
bus = EventBus(Celery("audited", set_as_current=False))

@bus.event("audited.changed", 1)
class One(EventSchema):
    id = fields.Integer()

@bus.subscribe("order.*", group="audited")
def take(event): pass
"""


def test_every_command_that_changes_something_leaves_an_entry(
    bus: EventBus,
    here: SingleRuns,
    run_here: Run,
    rows: Rows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    empty_database_url: str,
) -> None:
    """Whatever commands there are: one that is not known here to look only must be tried here."""
    (tmp_path / "audited_shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for _ in range(2):
        give_up(bus, here)
    rows.all("UPDATE eventbus.event_log SET version = 1")
    letter = str(rows.value("SELECT min(id) FROM eventbus.dead_letter"))
    cause = str(rows.value("SELECT min(fingerprint) FROM eventbus.dead_letter"))
    planned = [str(bus.replaying.create(bus.replaying.plan(Asked(group="stock", pattern="#"))).id) for _ in range(2)]
    app = ("-A", "audited_shop")
    commands: dict[str, tuple[str, ...]] = {
        "groups pause": ("stock",),
        "groups resume": ("stock",),
        "dead note": (letter, "mine"),
        "dead acknowledge": (cause,),
        "dead resolve": (cause,),
        "dead discard": (letter, "--group", "stock", "--reason", "x", "--yes"),
        "dead restore": (letter,),
        "dead retry": ("--group", "stock", "--yes"),
        "replay run": ("order.*", "--group", "stock", "--yes"),
        "replay resume": (planned[0],),
        "replay cancel": (planned[1],),
        "schema push": (),
        "schema retire": ("audited.changed", "1", "--yes"),
        "groups remove": ("stock", "--yes"),
        "stats --recount": (),
        "sync --replace": (),
    }
    known = {name for name, _ in leaves()}
    asked = {name: [*app, *name.split(), *rest] for name, rest in commands.items()}

    kept = {}
    for name, words in asked.items():
        done = run_here(*words)
        assert done.returncode == 0, (words, done.stderr)
        kept[name] = [(item["action"], item["result"]) for item in entries(run_here)][-1]
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", empty_database_url)
    assert run_here("migrate").returncode == 0
    kept["migrate"] = [(item["action"], item["result"]) for item in entries(run_here)][-1]
    assert run_here("migrate").returncode == 0

    renamed = {"replay resume": "replay run", "stats --recount": "stats recount", "sync --replace": "sync replace"}
    assert kept == {name: (renamed.get(name, name), "done") for name in kept}
    assert len(entries(run_here)) == 1
    tried = {name.partition(" --")[0] for name in kept}
    assert known - LOOKING - set(WITHOUT_A_PERSON) <= tried
    assert LOOKING | set(WITHOUT_A_PERSON) <= known


def test_changes_of_single_dead_letters_are_found_by_their_group(
    bus: EventBus, here: SingleRuns, run_here: Run, rows: Rows
) -> None:
    """Whatever named them: their ids, or their cause."""
    give_up(bus, here)
    letter = str(rows.value("SELECT id FROM eventbus.dead_letter"))
    cause = str(rows.value("SELECT fingerprint FROM eventbus.dead_letter"))
    for change in (
        ["note", letter, "mine"],
        ["discard", letter, "--group", "stock", "--reason", "x", "--yes"],
        ["restore", letter],
    ):
        assert run_here("dead", *change).returncode == 0
    assert bus.resolving.retry(bus.freeze_dead_letters(fingerprint=cause)).changed == 1

    kept = [item.action for item in bus.audit(group="stock")]
    assert kept == ["dead retry", "dead restore", "dead discard", "dead note"]
    assert bus.audit(group="shipping") == []


def test_a_schema_that_is_refused_is_kept_as_such(bus: EventBus, here: SingleRuns, run_here: Run) -> None:
    """With what was asked for, and by which rule somebody answered for it."""
    bus.register_schema("order.sent", 1, EventSchema.from_dict({"id": fields.Integer()}))
    answer = Acceptance(rule=Rule.REQUIRED_MISSING, until=date(2999, 1, 1), reason="ours")
    added = bus.push_schemas(acceptances=[answer]).added
    again = bus.push_schemas()
    bus.schemas = SchemaRegistry()
    vars(bus).pop("catalog")
    bus.register_schema("order.sent", 1, EventSchema.from_dict({"id": fields.String()}))
    with pytest.raises(SchemaEditedInPlace):
        bus.push_schemas()
    with pytest.raises(UnknownEventVersion):
        bus.retire_schema("order.sent", 2)

    assert (len(added), again.added) == (1, ())
    assert [(item["action"], item["changed"], item["result"]) for item in entries(run_here)] == [
        ("schema push", 1, "done"),
        ("schema push", 0, "done"),
        ("schema push", None, "failed: SchemaEditedInPlace"),
    ]
    assert entries(run_here)[0]["filter"] == {"types": ["order.sent"], "accepted": [answer.as_json()]}


def test_pages_of_the_audit_follow_each_other(bus: EventBus, here: SingleRuns, run_here: Run) -> None:
    """For people, with what each was about."""
    for _ in range(3):
        bus.pause_group("stock")
    first = run_here("audit", "--limit", "2")
    cursor = first.stderr.split("--cursor ")[1].strip()
    second = run_here("audit", "--limit", "2", "--cursor", cursor)
    none = run_here("audit", "--action", "restore")

    assert (none.returncode, none.stderr) == (0, "no such change.\n")
    assert [len(page.stdout.splitlines()) for page in (first, second)] == [2, 1]
    assert '{"group": "stock"}' in second.stdout
    with pytest.raises(InvalidInput):
        bus.audit(limit=0)


def test_a_change_that_fails_says_so(bus: EventBus, here: SingleRuns, run_here: Run) -> None:
    """With what ended it; one that was cut short stays as it began."""
    with pytest.raises(UnknownDeadLetter):
        bus.note_dead_letter(99, "x")
    with pytest.raises(RuntimeError), audited(bus.database, "test", {"a": None}):
        # As if the database were away when the end is to be written.
        bus.database.dispose()
        raise RuntimeError
    with audited(bus.database, "test", {}):
        during = entries(run_here)[-1]

    assert [item["result"] for item in entries(run_here)] == [
        "failed: UnknownDeadLetter",
        "failed: RuntimeError",
        "done",
    ]
    assert (len(bus.audit(result="failed")), bus.audit(result="fail")) == (2, [])
    assert (during["result"], during["ended_at"]) == ("began", None)


def test_the_error_of_a_change_is_not_lost(bus: EventBus, here: SingleRuns, rows: Rows) -> None:
    """Not even if the audit itself cannot be written any more."""
    rows.all("ALTER TABLE eventbus.audit RENAME TO audit_gone")
    try:
        with pytest.raises(RuntimeError):
            rows.all("ALTER TABLE eventbus.audit_gone RENAME TO audit")
            with audited(bus.database, "test", {}):
                rows.all("ALTER TABLE eventbus.audit RENAME TO audit_gone")
                raise RuntimeError
    finally:
        rows.all("ALTER TABLE eventbus.audit_gone RENAME TO audit")

    assert rows.value("SELECT result FROM eventbus.audit") == "began"


def test_a_program_says_for_whom_it_acts(bus: EventBus, here: SingleRuns, run_here: Run) -> None:
    """As a web page knows who uses it."""
    with acting_as("ann@example.org"):
        bus.pause_group("stock")
    bus.resume_group("stock")
    bus.sync(replace=True)

    assert [(item["who"], item["action"]) for item in entries(run_here)] == [
        ("ann@example.org", "groups pause"),
        (whoami(), "groups resume"),
        (whoami(), "sync replace"),
    ]
    assert [entry.action for entry in bus.audit(group="stock")] == ["sync replace", "groups resume", "groups pause"]
    assert (len(bus.audit(action="groups")), bus.audit(action="group"), bus.audit(group="stoc")) == (2, [], [])


@pytest.mark.parametrize("action", ["retry", "discard"])
def test_what_was_asked_for_is_frozen(bus: EventBus, here: SingleRuns, rows: Rows, action: str) -> None:
    """A dead letter that comes while the operator thinks is not touched."""
    give_up(bus, here)
    frozen = bus.freeze_dead_letters(group="stock")
    give_up(bus, here)

    if action == "retry":
        count = bus.retry_dead_letters(group="stock", frozen=frozen)
    else:
        count = bus.discard_dead_letters(group="stock", reason="x", frozen=frozen)

    assert (frozen.count, count) == (1, 1)
    assert rows.all("SELECT status = 'open' FROM eventbus.dead_letter ORDER BY id") == [(False,), (True,)]
    assert bus.freeze_dead_letters(group="stock").count == 1


def test_what_was_cut_short_says_how_far_it_came(
    bus: EventBus, here: SingleRuns, run_here: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches that committed are counted; the others are left, and can be retried."""
    for _ in range(3):
        give_up(bus, here)
    monkeypatch.setattr(resolving, "_BATCH", 1)
    sent: list[object] = []

    def interrupt(wake_ups: object) -> None:
        sent.append(wake_ups)
        if len(sent) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(bus.waking, "send", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bus.retry_dead_letters(group="stock")
    [entry] = entries(run_here)

    assert (entry["changed"], entry["result"]) == (2, "failed: KeyboardInterrupt")
    assert bus.retry_dead_letters(group="stock") == 1
