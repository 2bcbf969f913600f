"""Snapshots: the registry and what groups read, as a file that is committed beside the code and checked against offline."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jsonschema_rs
import orjson

from eventbus.errors import InvalidInput
from eventbus.event import check_type
from eventbus.lifecycle.schema_registration import as_stored, mode_of
from eventbus.schemas.contracts import GroupContract
from eventbus.schemas.fingerprints import text_fingerprint, wire_fingerprint
from eventbus.schemas.registry import SchemaRegistry
from eventbus.schemas.soundness import refuse_unfit, refuse_unsound
from eventbus.schemas.versions import Mode
from eventbus.storage import schemas as stored_schemas
from eventbus.storage.database import Database
from eventbus.storage.schemas import PatternReader, StoredSchema
from eventbus.subscription import check_group, check_pattern, matches
from eventbus.wording import shown

#: Of the file's form.
FORM = 1
_WORDS = ("owner", "description", "deprecation", "changelog")
_VERSION = {"type": "integer", "minimum": 1, "exclusiveMaximum": 1 << 31}
_SCHEMA = {
    "type": "object",
    "required": ["type", "version", "compatibility", "retired", "json_schema"],
    "properties": {
        "version": _VERSION,
        "compatibility": {"enum": list(Mode)},
        "retired": {"type": "boolean"},
        "json_schema": {"type": "object"},
        **{name: {"type": ["string", "null"]} for name in _WORDS},
    },
}
_GROUP = {
    "type": "object",
    "required": ["group", "pattern", "reads", "version"],
    "properties": {
        "reads": {
            "type": ["object", "null"],
            "properties": {"schema": {"type": "object"}, "paths": {"type": "array", "items": {"type": "string"}}},
        },
        "version": {"anyOf": [{"type": "null"}, _VERSION]},
    },
}
_FILE = jsonschema_rs.Draft7Validator(
    {
        "type": "object",
        "required": ["eventbus", "schemas", "groups"],
        "properties": {
            "schemas": {"type": "array", "items": _SCHEMA},
            "groups": {"type": "array", "items": _GROUP},
        },
    }
)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a candidate is checked against."""

    schemas: Sequence[StoredSchema] = ()
    readers: Sequence[PatternReader] = ()

    def of(self, type: str) -> list[StoredSchema]:
        """The versions of a type, oldest first."""
        return [each for each in self.schemas if each.type == type]

    def types(self) -> list[str]:
        """The types, sorted."""
        return sorted({each.type for each in self.schemas})

    def contracts(self, type: str) -> list[GroupContract]:
        """What each group that gets events of *type* says of its reading, by group."""
        found = [each for each in self.readers if matches(each.pattern, type)]
        return [GroupContract(group=each.group, reads=each.reads, version=each.version) for each in found]

    def with_schema(self, added: StoredSchema) -> "Snapshot":
        """The same with one more version, or with another one in its place."""
        key = added.type, added.version
        kept = [each for each in self.schemas if (each.type, each.version) != key]
        return replace(self, schemas=sorted([*kept, added], key=lambda each: (each.type, each.version)))


def take_snapshot(database: Database) -> Snapshot:
    """The registry as it is, and what every group reads."""
    with database.autocommit() as connection:
        schemas = stored_schemas.list_schemas(connection)
        readers = stored_schemas.list_all_readers(connection)
    return Snapshot(schemas=schemas, readers=readers)


def with_declared(snapshot: Snapshot, declared: SchemaRegistry) -> Snapshot:
    """*snapshot* with the versions that code declares and it lacks, as if they were registered."""
    for type in declared.types():
        for version in declared.versions(type):
            schema = declared.get(type, version)
            if all(each.version != version for each in snapshot.of(type)):
                stored = as_stored(schema, mode_of(schema, snapshot.of(type)))
                snapshot = snapshot.with_schema(stored)
    return snapshot


def write_snapshot(snapshot: Snapshot) -> str:
    """The text of a snapshot's file: the same for the same registry."""
    schemas = [_schema_as_json(each) for each in snapshot.schemas]
    readers = [
        {"group": each.group, "pattern": each.pattern, "reads": each.reads, "version": each.version}
        for each in snapshot.readers
    ]
    document = {"eventbus": FORM, "schemas": schemas, "groups": readers}
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_snapshot(text: str, *, name: str) -> Snapshot:
    """The snapshot in the *text* of the file *name*.

    Raises:
        InvalidInput: It holds none, or one that cannot be worked with.
    """
    try:
        orjson.loads(text)  # refuses what is no Unicode and no number; the other one keeps integers of any size
        document = json.loads(text)
        form = document.get("eventbus", FORM) if isinstance(document, dict) else FORM
        if form != FORM:
            raise InvalidInput(f"it has the form {shown(form)}, not {FORM}: take it again with this version.")
        refuse_unfit(_FILE, document)
        schemas = [_schema_from_json(each) for each in document["schemas"]]
        readers = [_reader_from_json(each) for each in document["groups"]]
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{name} holds no snapshot of schemas: {str(error).rstrip('.')}.") from error
    return Snapshot(schemas=sorted(schemas, key=lambda each: (each.type, each.version)), readers=readers)


def _schema_as_json(each: StoredSchema) -> dict[str, Any]:
    words = {name: getattr(each, name) for name in _WORDS if getattr(each, name) is not None}
    return {
        "type": each.type,
        "version": each.version,
        "compatibility": each.compatibility,
        "retired": each.is_retired,
        "json_schema": each.json_schema,
        **words,
    }


def _schema_from_json(each: Mapping[str, Any]) -> StoredSchema:
    # Files are named after it.
    type = check_type(each["type"])
    version = int(each["version"])
    refuse_unsound(each["json_schema"], f"{type} version {version}")
    return StoredSchema(
        type=type,
        version=version,
        json_schema=each["json_schema"],
        wire_fingerprint=wire_fingerprint(each["json_schema"]),
        text_fingerprint=text_fingerprint(each["json_schema"]),
        compatibility=each["compatibility"],
        is_retired=each["retired"],
        owner=each.get("owner"),
        description=each.get("description"),
        deprecation=each.get("deprecation"),
        changelog=each.get("changelog"),
    )


def _reader_from_json(each: Mapping[str, Any]) -> PatternReader:
    group, reads = check_group(each["group"]), each["reads"]
    if reads is not None and "schema" in reads:
        refuse_unsound(reads["schema"], f"what {group} reads")
    return PatternReader(
        group=group,
        pattern=check_pattern(each["pattern"]),
        reads=reads,
        version=None if each["version"] is None else int(each["version"]),
    )
