"""Schemas: which versions each type has, what lies between two of them, who reads what, and whom a change breaks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from eventbus.console.page import Page
from eventbus.console.view import View
from eventbus.errors import InvalidInput, UnknownEventVersion
from eventbus.event import check_type
from eventbus.lifecycle.schema_comparing import Comparison
from eventbus.storage.schemas import StoredSchema

page = Page("Schemas", "/schemas")

_LARGEST_VERSION = (1 << 31) - 1


@dataclass(frozen=True, kw_only=True)
class TypeLine:
    """A type in the list."""

    type: str
    versions: Sequence[StoredSchema]

    @property
    def newest(self) -> StoredSchema:
        """The newest one that may be published; the newest of all if none may."""
        living = [each for each in self.versions if not each.is_retired]
        return (living or list(self.versions))[-1]


@page.get("/schemas", budget=1)
def list_types(view: View) -> Response:
    """All types that have a schema, by name; those whose name holds what is asked for."""
    part = view.filters.text("type")
    by_type: dict[str, list[StoredSchema]] = {}
    for each in view.bus.stored_schemas():
        if part is None or part in each.type:
            by_type.setdefault(each.type, []).append(each)
    lines = [TypeLine(type=type, versions=versions) for type, versions in by_type.items()]
    return view.show("schemas/list.html", lines=lines, part=part)


@page.get("/schemas/{type}", budget=4)
def show(view: View) -> Response:
    """The versions of a type, what lies between two of them, and who reads it."""
    type = check_type(view.path["type"])
    versions = view.bus.stored_schemas(type)
    if not versions:
        return view.show("schemas/none.html", status=404, type=type, readers=view.bus.schema_readers(type))
    old, new = _chosen(view, versions)
    readers = view.bus.schema_readers(type)
    compared = None if old is None else view.bus.compare_schemas(old, new, readers=readers)
    return view.show(
        "schemas/type.html",
        type=type,
        versions=versions,
        shown=new,
        document=json.dumps(new.json_schema, indent=2, ensure_ascii=False),
        readers=readers,
        compared=compared,
        marked=_marked(compared),
    )


@page.post("/schemas/{type}/{version:number}/retire")
def retire(view: View) -> Response:
    """Take a version out of use for good."""
    type, version = check_type(view.path["type"]), view.path["version"]
    known = [each.version for each in view.bus.stored_schemas(type)]
    if version not in known:
        raise UnknownEventVersion(type, version, known)
    if not view.is_confirmed:
        sentence = "Nobody may publish it any more, and nothing is checked against it. This is for good."
        return view.confirm(f"Retire version {version} of {type}?", sentence, button="Retire", back=f"/schemas/{type}")
    retired = view.bus.retire_schema(type, version)
    done = "is retired" if retired else "was retired before"
    return view.redirect(f"/schemas/{type}", notice=f"Version {version} of {type} {done}.")


def _chosen(view: View, versions: Sequence[StoredSchema]) -> tuple[StoredSchema | None, StoredSchema]:
    """The two that are asked for; left out, the newest one and the one before."""
    by_version = {each.version: each for each in versions}
    new = _version(view, "new", by_version) or versions[-1].version
    old = _version(view, "old", by_version) or max((each for each in by_version if each < new), default=None)
    return None if old is None else by_version[old], by_version[new]


def _version(view: View, name: str, known: dict[int, StoredSchema]) -> int | None:
    number = view.filters.number(name, least=1, most=_LARGEST_VERSION)
    if number is not None and number not in known:
        listed = ", ".join(map(str, sorted(known)))
        raise InvalidInput(f"{name}={number}: the type has the versions {listed}.")
    return number


def _marked(compared: Comparison | None) -> list[tuple[str, str]]:
    """The lines of the difference, each with what it is: added, removed, or neither."""
    kinds = {"+": "added", "-": "removed", "@": "place"}
    return [] if compared is None else [(kinds.get(line[:1], "same"), line) for line in compared.lines]
