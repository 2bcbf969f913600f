"""`eventbus schema`: what people and CI ask, and what each answer exits with."""

import json
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as Xml

import jsonschema_rs
import pytest

from eventbus.cli.app import main
from eventbus.errors import InvalidInput
from eventbus.lifecycle import schema_history
from eventbus.lifecycle.schema_snapshots import read_snapshot, write_snapshot
from tests.integration.conftest import MakeBus
from tests.integration.registry.conftest import OrderV1, OrderV2, OrderV3
from tests.support.rows import Rows

OFFICIAL = Path(__file__).parents[2] / "fixtures" / "asyncapi-3.0.0.schema.json"
TYPE = "order.created"
APP = """
from celery import Celery
from marshmallow import fields, pre_load
from eventbus import EventBus, EventSchema
bus = EventBus(Celery("shop", set_as_current=False))

@bus.event("order.created", 1, owner="orders")
class One(EventSchema):
    "An order."
    orderId = fields.String(required=True)
    amount = fields.Integer()
"""
TWO = """
@bus.event("order.created", 2)
class Two(One):
    {0}
"""
COMPATIBLE = APP + TWO.format("channel = fields.String()")
BREAKING = APP + TWO.format("currency = fields.String(required=True)")
UNPROVEN = APP + TWO.format("@pre_load\n    def change(self, data, **_): return data")
EDITED = APP.replace("fields.Integer()", "fields.String()")


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """A function that runs a command, with an app of the given code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    made: list[str] = []

    def call(*arguments: str, app: str | None = None) -> Ran:
        named: list[str] = []
        if app is not None:
            made.append(f"shop_{tmp_path.name}_{len(made)}".replace("-", "_"))
            (tmp_path / f"{made[-1]}.py").write_text(app)
            named = ["-A", made[-1]]
        with pytest.raises(SystemExit) as ended:
            main([*named, "schema", *arguments])
        code = ended.value.code
        assert isinstance(code, int)
        return Ran(code, *capsys.readouterr())

    yield call
    for name in made:
        if module := sys.modules.pop(name, None):
            module.bus.database.dispose()


def test_push_list_and_show(run: Run) -> None:
    """What is registered is there to be read, by people and programs."""
    assert "nothing is registered" not in run("list").out
    pushed = run("push", app=COMPATIBLE)
    again = run("push", app=COMPATIBLE.replace("An order.", "An order, placed."))

    assert pushed.code == again.code == 0
    assert "order.created  version 2  registered" in pushed.out
    assert "order.created  version 1  reworded" in again.out
    listed = [json.loads(line) for line in run("list", "--json").out.splitlines()]
    assert [(each["version"], each["state"], each["compatibility"]) for each in listed] == [
        (1, "live", "FULL_TRANSITIVE"),
        (2, "live", "FULL_TRANSITIVE"),
    ]
    shown = json.loads(run("show", TYPE, "1", "--json").out)
    assert (shown["owner"], shown["description"]) == ("orders", "An order, placed.")
    assert shown["json_schema"]["properties"]["amount"] == {"type": "integer"}
    text = run("show", TYPE).out
    assert "version: 2" in text
    assert '"channel"' in text


def test_a_mode_that_checks_nothing_is_shown_loudly(run: Run, make_bus: MakeBus) -> None:
    """Wherever schemas are listed."""
    bus = make_bus()
    bus.register_schema(TYPE, 1, OrderV1, compatibility="NONE", deprecation="use 2")
    bus.sync()

    assert "NONE (unchecked!)\tdeprecated" in run("list").out


def test_check_against_a_committed_snapshot_needs_no_server(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 0, 1 and 3; the file follows the code, and says when it is out of date."""
    assert run("push", app=APP).code == 0
    assert run("snapshot").code == run("snapshot", "--check").code == 0
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    check = ("check", "--snapshot", "schemas.json")

    answers = [run(*check, app=app) for app in (APP, COMPATIBLE, BREAKING, UNPROVEN, EDITED)]

    assert [answer.code for answer in answers] == [0, 0, 1, 3, 1]
    assert "1 known, 1 ok" in answers[1].out
    assert "currency: required-missing (backward, breaks). Tried: {" in answers[2].out
    assert "cannot-tell" in answers[3].out
    assert "was edited in place" in answers[4].out
    assert run("snapshot", "--from-code", "--check", app=COMPATIBLE).code == 1
    assert run("snapshot", "--from-code", app=COMPATIBLE).code == 0
    assert run("snapshot", "--from-code", "--check", app=COMPATIBLE).code == 0
    assert [each["version"] for each in json.loads(Path("schemas.json").read_text())["schemas"]] == [1, 2]


def test_check_names_groups_and_speaks_to_machines(run: Run, make_bus: MakeBus) -> None:
    """JSON, GitHub's annotations with file and line, and JUnit."""
    bus = make_bus()
    bus.register_schema(TYPE, 1, OrderV2)
    bus.subscribe("order.*", group="billing", handler=lambda event: None, reads=["amount"])
    bus.sync()
    code = APP.replace(
        "amount = fields.Integer()", "amount = fields.Integer(required=True)\n    lines = fields.Raw()"
    ).replace('created", 1', 'created", 2')

    told = json.loads(run("check", "--format", "json", app=code).out)["schemas"][0]
    github = run("check", "--format", "github", app=code)
    junit = run("check", "--format", "junit", "--output", "report.xml", app=code)

    assert told["status"] == "breaking"
    assert told["groups"] == [{"group": "billing", "effect": "safe", "reason": "reads nothing that changes"}]
    assert {each["rule"] for each in told["conflicts"]} >= {"type-refused"}
    assert github.code == junit.code == 1
    assert "::error file=shop_" in github.out
    assert ",line=7,title=order.created version 2::" in github.out
    suite = Xml.parse("report.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert "type-refused" in (suite[0][0].text or "")


def test_somebody_may_answer_for_a_rule_for_a_while(run: Run, rows: Rows) -> None:
    """With a reason and until a day, after which that is said; push keeps it with the version, which is then registered."""
    assert run("push", app=APP).code == 0
    answer = ("--accept", f"{TYPE}:required-missing", "--reason", "nobody reads it yet", "--until")

    for command in ("check", "push"):
        ended = run(command, *answer, "2001-01-01", app=BREAKING)
        assert (ended.code, "its last day was 2001-01-01" in ended.err) == (1, True)
    accepted = run("check", *answer, "2999-12-31", app=BREAKING)
    assert (accepted.code, accepted.err) == (0, "")
    assert "accepted until 2999-12-31: nobody reads it yet" in accepted.out
    assert "::warning" in run("check", "--format", "github", *answer, "2999-12-31", app=BREAKING).out
    assert run("push", app=BREAKING).code == 1
    assert run("push", app=UNPROVEN).code == 3
    assert run("push", *answer, "2999-12-31", app=BREAKING).code == 0
    assert run("push", *answer, "2001-01-01", app=BREAKING).code == 0
    [kept] = rows.value("SELECT accepted FROM eventbus.event_schema WHERE version = 2")
    assert kept == {
        "rule": "required-missing",
        "until": "2999-12-31",
        "reason": "nobody reads it yet",
        "type": TYPE,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--accept", "required-missing"),
        ("check", "--accept", "required-missing", "--until", "soon", "--reason", "x"),
        ("check", "--accept", "nothing", "--until", "2999-01-01", "--reason", "x"),
        ("check", "--reason", "x"),
        ("check", "--snapshot", "broken.json"),
        ("check", "--snapshot", "old.json"),
        ("check", "--snapshot", "binary.json"),
        ("check", "--history", "--format", "junit"),
        ("check", "--history", "--type", "no.such"),
        ("check", "--history", "--accept", "required-missing", "--until", "2999-01-01", "--reason", "x"),
        ("check", "--type", TYPE),
        ("show", "no.such"),
        ("show", TYPE, "9"),
        ("diff", TYPE, "2", "1"),
        ("diff", TYPE, "2"),
        ("export", "typescript"),
        ("export", "asyncapi", "--check"),
    ],
)
def test_bad_input_is_told(run: Run, arguments: tuple[str, ...]) -> None:
    """Exit 2, in one sentence, or the usage."""
    assert run("push", app=COMPATIBLE).code == 0
    Path("broken.json").write_text('{"eventbus": 1, "schemas": [{}], "groups": []}')
    Path("old.json").write_text('{"eventbus": 0, "schemas": [], "groups": []}')
    Path("binary.json").write_bytes(b"\xff")
    expected = 1 if arguments == ("diff", TYPE, "2", "1") else 2

    answer = run(*arguments, app=APP)

    assert answer.code in (expected, 0 if arguments[0] == "diff" else expected)
    assert "Traceback" not in answer.err


def test_diff_shows_what_lies_between(run: Run) -> None:
    """Of the registry, with what the code adds; exits with 1 if one does not read the other."""
    assert run("push", app=COMPATIBLE).code == 0

    same = run("diff", TYPE)
    broken = run("diff", TYPE, app=COMPATIBLE + TWO.format("x = fields.Raw(required=True)").replace(", 2", ", 3"))
    told = run(
        "diff",
        TYPE,
        "2",
        "3",
        "--json",
        app=COMPATIBLE + TWO.format("x = fields.Raw(required=True)").replace(", 2", ", 3"),
    )

    assert same.code == 0
    assert '+    "channel": {' in same.out
    assert broken.code == told.code == 1
    assert {json.loads(line)["rule"] for line in told.out.splitlines()} >= {"required-missing"}
    assert "problems." in broken.out


def test_retire_asks_and_is_for_good(run: Run) -> None:
    """Without a terminal it needs --yes."""
    assert run("push", app=COMPATIBLE).code == 0

    assert run("retire", TYPE, "1").code == 2
    assert "retired." in run("retire", TYPE, "1", "--yes").out
    assert "was retired before" in run("retire", TYPE, "1", "--yes").out
    assert "\tretired\t" in run("list", TYPE).out


def test_a_retired_version_that_code_still_declares_stands_in_no_way(run: Run) -> None:
    """It reads old events; check and push agree, before and after, and an edit of it is still found."""
    assert run("push", app=APP).code == 0
    assert run("retire", TYPE, "1", "--yes").code == 0
    assert run("snapshot").code == 0

    before = [run("check", *base, app=BREAKING) for base in ((), ("--snapshot", "schemas.json"))]
    told = [run("check", "--format", form, app=BREAKING) for form in ("json", "github", "junit")]
    pushed = run("push", app=BREAKING)
    after = run("check", app=BREAKING)
    edited = run("check", app=EDITED)

    assert [answer.code for answer in (*before, *told, pushed, after)] == [0] * 7
    assert "order.created version 1: retired\norder.created version 2: ok (FULL_TRANSITIVE)\n1 ok, 1 retired\n" in [
        answer.out for answer in before
    ]
    assert "1 known, 1 retired" in after.out
    assert (edited.code, "was edited in place" in edited.out) == (1, True)


def test_parked_is_shown(run: Run, make_bus: MakeBus, worker: Any, order: dict[str, Any]) -> None:
    """Group, version, number and reason."""
    assert "nothing is parked" in run("parked").err
    bus = make_bus(schema_registration="off")
    bus.subscribe(TYPE, group="billing", handler=lambda event: None, version=2)
    execution = worker(bus)
    bus.publish(TYPE, order, source="orders")
    execution.run(execution.take("billing", None, task_id=None))

    assert "billing\torder.created\t1\t1\t" in run("parked", "--group", "billing").out


def test_export_is_deterministic_and_can_be_checked(run: Run, make_bus: MakeBus) -> None:
    """AsyncAPI of the whole bus; files for each version; types for a language."""
    bus = make_bus()
    bus.subscribe("order.*", group="billing", handler=lambda event: None)
    bus.sync()
    assert run("push", app=COMPATIBLE).code == 0
    document = ("export", "asyncapi", "--output", "docs/asyncapi.json", "--title", "Shop")

    assert run(*document, "--check").code == 1
    assert run(*document).code == run(*document, "--check").code == 0
    told = json.loads(Path("docs/asyncapi.json").read_text())
    assert told["info"]["title"] == "Shop"
    official = jsonschema_rs.Draft7Validator(json.loads(OFFICIAL.read_text()))
    assert [error.message for error in official.iter_errors(told)] == []
    assert set(told["operations"]) == {"publish.order.created", "billing.order.created"}
    assert run("export", "json-schema", "--output", "forms").code == 0
    assert sorted(path.name for path in Path("forms").iterdir()) == ["order.created.v1.json", "order.created.v2.json"]
    assert "interface OrderCreated" in run("export", "typescript", TYPE).out
    assert "class OrderCreated" in run("export", "typed-dict", TYPE, "--version", "1").out
    assert run("export", "typescript", TYPE, "--output", "order.ts").code == 0
    assert run("export", "typed-dict", "--output", "types").code == 0
    assert run("snapshot").code == 0
    assert run("export", "json-schema", TYPE, "--snapshot", "schemas.json").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("snapshot", "latin"), "latin holds no text in UTF-8: name another file, or remove it."),
        (("snapshot", "latin", "--check"), "latin holds no text in UTF-8"),
        (("snapshot", "latin", "--from-code"), "latin holds no text in UTF-8"),
        (("snapshot", "file/schemas.json"), "file/schemas.json cannot be read: Not a directory."),
        (("snapshot", "file/schemas.json", "--from-code"), "file/schemas.json cannot be read: Not a directory."),
        (("snapshot", "nowhere/schemas.json"), "nowhere/schemas.json cannot be written: nowhere is no folder."),
        (("snapshot", "loop"), "loop cannot be read: Too many levels of symbolic links."),
        (("snapshot", "x" * 300), "cannot be read: File name too long."),
        (("export", "asyncapi", "--output", "folder"), "folder cannot be read: Is a directory."),
        (("export", "asyncapi", "--output", "folder", "--check"), "folder cannot be read: Is a directory."),
        (("export", "asyncapi", "--output", "latin"), "latin holds no text in UTF-8"),
        (("export", "typescript", "--output", "file"), "cannot be read: Not a directory."),
        (("check", "--output", "file/report"), "file/report cannot be written: file is no folder."),
        (("check", "--output", "/dev/full"), "/dev/full cannot be written: No space left on device."),
        (("check", "--snapshot", "latin"), "latin holds no text in UTF-8"),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_used_is_named(run: Run, arguments: tuple[str, ...], said: str) -> None:
    """Exit 2, in one sentence, and what is there stays as it is."""
    assert run("push", app=APP).code == 0
    Path("latin").write_bytes(b"caf\xe9")
    Path("file").write_text("kept")
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    Path("nowhere").symlink_to("gone")

    answer = run(*arguments, app=APP)

    assert answer.code == 2
    assert said in answer.err
    assert (Path("latin").read_bytes(), Path("file").read_text()) == (b"caf\xe9", "kept")
    assert list(Path("folder").iterdir()) == []


def test_folders_are_made_and_text_is_never_cut(run: Run) -> None:
    """What cannot be written leaves the file as it was."""
    assert run("push", app=APP).code == 0

    assert run("check", "--format", "json", "--output", "reports/new/schemas.json", app=APP).code == 0
    assert json.loads(Path("reports/new/schemas.json").read_text())["schemas"]
    assert run("snapshot").code == 0
    kept = Path("schemas.json").read_text()
    half = COMPATIBLE.replace("2)\nclass", '2, description="\\ud800")\nclass')
    refused = run("snapshot", "--from-code", app=half)
    assert (refused.code, "description: Not valid Unicode text." in refused.err) == (2, True)
    assert Path("schemas.json").read_text() == kept


SNAPSHOT: dict[str, Any] = {
    "eventbus": 1,
    "schemas": [
        {"type": TYPE, "version": 1, "compatibility": "FULL", "retired": False, "json_schema": {"type": "object"}}
    ],
    "groups": [{"group": "billing", "pattern": "order.*", "reads": {"paths": ["amount"]}, "version": None}],
}


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("schemas", 0, "version"), "1", 'schemas[0].version: "1" is not of type "integer".'),
        (("schemas", 0, "version"), 1 << 31, "schemas[0].version: 2147483648 is greater"),
        (("schemas", 0, "version"), float("inf"), "unexpected character"),
        (("schemas", 0, "compatibility"), "SOME", 'schemas[0].compatibility: "SOME" is not one of'),
        (("schemas", 0, "retired"), "no", 'schemas[0].retired: "no" is not of type "boolean".'),
        (("schemas", 0, "owner"), 5, "schemas[0].owner: 5 is not of types"),
        (("schemas", 0, "owner"), "\ud800", "surrogate"),
        (("schemas", 0, "type"), 5, "5 is not an event type"),
        (("schemas", 0), {}, 'schemas[0]: "type" is a required property.'),
        (("schemas", 0, "json_schema"), [], "schemas[0].json_schema: [] is not of type"),
        (("schemas", 0, "json_schema", "pattern"), None, "order.created version 1: pattern: null"),
        (("schemas", 0, "json_schema", "$ref"), "#/gone", "order.created version 1: Pointer '/gone' does not exist."),
        (("schemas", 0, "json_schema", "enum"), 5, "order.created version 1: enum: 5"),
        (("groups", 0, "group"), "Billing", "'Billing' is not a group name"),
        (("groups", 0, "pattern"), "order..", "'order..' is not a pattern"),
        (("groups", 0, "reads"), {"paths": 5}, "groups[0].reads.paths: 5 is not of type"),
        (("groups", 0, "reads"), {"schema": {"enum": 5}}, "what billing reads: enum: 5"),
        (("eventbus",), 2, "it has the form 2, not 1: take it again with this version."),
        (("eventbus",), None, "it has the form None, not 1"),
    ],
    ids=str,
)
def test_a_snapshot_that_cannot_be_worked_with_is_refused(place: tuple[Any, ...], value: Any, said: str) -> None:
    """In a sentence with the file, the place and the reason; nobody knows what a merge makes of a file."""
    document = deepcopy(SNAPSHOT)
    part: Any = document
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value

    with pytest.raises(InvalidInput) as refused:
        read_snapshot(json.dumps(document), name="schemas.json")

    text = str(refused.value)
    assert text.startswith("schemas.json holds no snapshot of schemas: ")
    assert said in text
    assert text.endswith(".")
    assert "\n" not in text
    assert len(text) < 400


@pytest.mark.parametrize("text", ["", "[]", "5", "{}", "<<<<<<< HEAD", "[" * 100_000, '{"a":' * 990 + "1" + "}" * 990])
def test_a_file_that_holds_anything_else_is_refused(text: str) -> None:
    """As one that is no snapshot."""
    with pytest.raises(InvalidInput, match=r"^schemas.json holds no snapshot of schemas: .*\.$"):
        read_snapshot(text, name="schemas.json")


def test_a_snapshot_is_read_as_it_was_written() -> None:
    """With numbers of any size, and groups of any reading."""
    document = deepcopy(SNAPSHOT)
    document["schemas"][0]["json_schema"] = {"properties": {"amount": {"maximum": 10**30, "minimum": 0.1}}}
    document["groups"][0] |= {"reads": {"schema": {"properties": {"amount": {"type": "integer"}}}}, "version": 2}

    taken = read_snapshot(json.dumps(document), name="schemas.json")

    assert json.loads(write_snapshot(taken)) == document


@pytest.mark.parametrize("form", ["json-schema", "typed-dict", "typescript"])
def test_export_writes_nowhere_but_where_it_was_told_to(run: Run, form: str) -> None:
    """A file is named after its type, so a type that a snapshot makes up is none."""
    assert run("push", app=APP).code == 0
    assert run("snapshot").code == 0
    taken = Path("schemas.json").read_text()
    Path("schemas.json").write_text(taken.replace(f'"{TYPE}"', '"../../outside"'))

    answer = run("export", form, "--snapshot", "schemas.json", "--output", "in/here")

    assert answer.code == 2
    assert "schemas.json holds no snapshot of schemas: '../../outside' is not an event type" in answer.err
    assert list(Path().glob("**/*outside*")) == []


def test_history_says_what_would_not_load(
    run: Run, make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch, order: dict[str, Any]
) -> None:
    """How many of which version, since when, samples, fields and groups; in batches, exact."""
    monkeypatch.setattr(schema_history, "_BATCH", 3)
    bus = make_bus()
    bus.subscribe(TYPE, group="billing", handler=lambda event: None)
    bus.sync()
    events = [bus.publish(TYPE, {"orderId": "a", "amount": n}, source="orders") for n in (1, 2)]
    wrong = [bus.publish(TYPE, {"orderId": "a", "amount": str(n)}, source="orders") for n in range(6)]
    late = bus.publish(TYPE, {"orderId": "a", "amount": "x", "extra": 1}, source="orders", version=2)
    bus.publish("order.shipped", {"amount": "x"}, source="orders")

    told = run("check", "--history", app=APP)
    found = json.loads(run("check", "--history", "--format", "json", app=APP).out)["history"]

    assert told.code == 1
    assert "order.created version 1: 7 of 9 stored events would not load" in told.out
    assert "of version 1: 6 of 8" in told.out
    assert "amount: 6 times, as: Not a valid integer." in told.out
    assert "groups: billing" in told.out
    [type_found] = found
    assert type_found["is_complete"]
    first, second = type_found["versions"]
    assert first["samples"] == [str(event.id) for event in wrong[:5]]
    assert (first["since"], first["until"]) == (wrong[0].created_at.isoformat(), wrong[-1].created_at.isoformat())
    assert second["samples"] == [str(late.id)]
    assert events[0].created_at < wrong[0].created_at


def test_history_follows_the_steps_and_code_that_json_schema_cannot_express(
    run: Run, make_bus: MakeBus, order: dict[str, Any]
) -> None:
    """A candidate with an upcaster is tried behind it; hooks are really run; a failing step counts."""
    bus = make_bus()
    for n in range(3):
        bus.publish(TYPE, {"orderId": "a", "amount": n}, source="orders")
    up = "\n@bus.upcaster('order.created', 1, 2)\ndef up(data):\n    {0}\n"
    hook = UNPROVEN.replace("return data", "return {} if data.get('amount') == 1 else data")

    good = run("check", "--history", app=BREAKING + up.format("return {**data, 'currency': 'EUR'}"))
    bad = run("check", "--history", app=BREAKING + up.format("return data if data['amount'] else 1"))
    lost = run("check", "--history", app=BREAKING)
    opaque = run("check", "--history", app=hook)
    evident = run("check", "--history", app=COMPATIBLE)

    assert (good.code, "0 of 3" in good.out) == (0, True)
    assert (bad.code, "3 of 3" in bad.out) == (1, True)
    assert (lost.code, "currency: 3 times" in lost.out) == (1, True)
    assert (opaque.code, "1 of 3" in opaque.out) == (1, True)
    assert (evident.code, "0 of 3" in evident.out) == (0, True)


def test_history_hides_what_is_redacted(run: Run, make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step says of a value that must not be seen gets into no report."""
    bus = make_bus()
    bus.register_schema(TYPE, 1, OrderV1)
    bus.publish(TYPE, {"orderId": "hush-4711", "amount": 1}, source="orders")
    up = "\nbus.upcaster('order.created', 1, 2)(lambda data: {**data, 'currency': int(data['orderId'])})\n"

    seen = run("check", "--history", app=BREAKING + up)
    monkeypatch.setenv("EVENTBUS_REDACT", "data.orderId")
    hidden = [run("check", "--history", *form, app=BREAKING + up) for form in ((), ("--format", "json"))]

    assert "hush-4711" in seen.out
    assert [("hush" in ran.out + ran.err, "base 10: '[redacted]'" in ran.out) for ran in hidden] == [(False, True)] * 2


def test_history_goes_by_way_of_versions_that_only_the_registry_knows(run: Run, make_bus: MakeBus) -> None:
    """What a step gives is checked by their JSON Schema; from there to the candidate the way is evident."""
    assert run("push", app=COMPATIBLE).code == 0
    bus = make_bus(schema_registration="off")
    for n in range(3):
        bus.publish(TYPE, {"orderId": "a", "amount": n}, source="orders", version=1)
    three = "\n@bus.event('order.created', 3)\nclass Three(One):\n    channel = fields.String()\n    more = fields.String()\n"
    up = "\n@bus.upcaster('order.created', 1, 2)\ndef up(data):\n    return {**data, 'channel': data['amount'] or 'web'}\n"

    told = run("check", "--history", app=APP + three + up)

    assert told.code == 1
    assert "2 of 3" in told.out
    assert "channel: 2 times" in told.out


def test_history_counts_what_a_version_between_refuses(run: Run, make_bus: MakeBus) -> None:
    """A handler would not get it either, though the next step would have mended it."""
    make_bus().publish(TYPE, {"orderId": "a", "amount": 1}, source="orders")
    three = "\n@bus.event('order.created', 3)\nclass Three(Two):\n    pass\n"
    up = "\n@bus.upcaster('order.created', {0}, {1})\ndef up{0}(data):\n    return {2}\n"
    steps = up.format(1, 2, "data") + up.format(2, 3, "{**data, 'currency': 'EUR'}")

    told = run("check", "--history", app=BREAKING + three + steps)

    assert (told.code, "currency: 1 times" in told.out) == (1, True)


def test_history_can_be_interrupted(make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch, order: dict[str, Any]) -> None:
    """It ends with its batch and says that it is not complete; a type without events is."""
    import threading

    monkeypatch.setattr(schema_history, "_BATCH", 2)
    bus = make_bus()
    bus.register_schema(TYPE, 1, OrderV1)
    bus.register_schema("order.shipped", 1, OrderV3)
    for _ in range(4):
        bus.publish(TYPE, order, source="orders")
    stop = threading.Event()

    found = schema_history.check_history(
        bus.database, bus.catalog, TYPE, stop=stop, watch=lambda _type, _events: stop.set()
    )
    empty = schema_history.check_history(bus.database, bus.catalog, "order.shipped")

    assert (found.events, found.failed, found.is_complete) == (2, 0, False)
    assert (empty.events, empty.is_complete) == (0, True)


def test_history_ends_with_the_newest_event_there_was_at_the_start(
    make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch, order: dict[str, Any]
) -> None:
    """However many are published meanwhile; whoever watches is told how many were tried so far."""
    monkeypatch.setattr(schema_history, "_BATCH", 2)
    bus = make_bus()
    bus.register_schema(TYPE, 1, OrderV1)
    for _ in range(3):
        bus.publish(TYPE, order, source="orders")
    told: list[tuple[str, int]] = []

    def watch(type: str, events: int) -> None:
        told.append((type, events))
        if len(told) < 5:
            bus.publish(TYPE, order, source="orders")

    found = schema_history.check_history(bus.database, bus.catalog, TYPE, watch=watch)

    assert (found.events, found.is_complete) == (3, True)
    assert told == [(TYPE, 2), (TYPE, 3)]


def test_history_whose_newest_event_is_deleted_meanwhile_is_complete(
    make_bus: MakeBus, monkeypatch: pytest.MonkeyPatch, order: dict[str, Any], rows: Rows
) -> None:
    """What is gone need not load."""
    monkeypatch.setattr(schema_history, "_BATCH", 2)
    bus = make_bus()
    bus.register_schema(TYPE, 1, OrderV1)
    newest = [bus.publish(TYPE, order, source="orders") for _ in range(4)][-1]

    found = schema_history.check_history(
        bus.database,
        bus.catalog,
        TYPE,
        watch=lambda _type, _events: rows.all("DELETE FROM eventbus.event_log WHERE id = %s", str(newest.id)) and None,
    )

    assert (found.events, found.is_complete) == (3, True)


def test_history_tells_times_in_utc(run: Run, make_bus: MakeBus, rows: Rows) -> None:
    """Whatever the zone of the server."""
    rows.all(f"ALTER DATABASE {rows.value('SELECT quote_ident(current_database())')} SET timezone = 'Asia/Tokyo'")
    wrong = make_bus().publish(TYPE, {"orderId": "a", "amount": "x"}, source="orders")

    found = json.loads(run("check", "--history", "--format", "json", app=APP).out)["history"]

    [version] = found[0]["versions"]
    assert (version["since"], version["until"]) == (wrong.created_at.isoformat(),) * 2
    assert version["since"].endswith("+00:00")


def test_history_counts_what_a_hook_refuses_without_a_word(run: Run, make_bus: MakeBus) -> None:
    """No reason is no consent."""
    make_bus().publish(TYPE, {"orderId": "a", "amount": 1}, source="orders")
    mute = UNPROVEN.replace("return data", "raise __import__('marshmallow').ValidationError([])")

    told = run("check", "--history", app=mute)

    assert told.code == 1
    assert "event: 1 times, as: The schema refuses it, and says no reason." in told.out
