"""Registration of schemas: what this code declares becomes what the whole team checks against.

    declared ─▶ all there, word for word? ─▶ done, without a lock
                 └─ lock the registry ─▶ edited in place? compatible with all that live? ─▶ write | refuse

All or nothing. A version that is there is not checked again: it was, when it came.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from eventbus.errors import IncompatibleSchema, SchemaEditedInPlace, SchemaNotRegistered
from eventbus.lifecycle.auditing import whoami
from eventbus.schemas.acceptance import Acceptance
from eventbus.schemas.assessment import Assessment, assess, sentence
from eventbus.schemas.bridging import Bridges
from eventbus.schemas.contracts import GroupContract
from eventbus.schemas.fingerprints import text_fingerprint, wire_fingerprint
from eventbus.schemas.registry import RegisteredSchema, SchemaRegistry, make_schema
from eventbus.schemas.versions import Mode
from eventbus.settings import SchemaRegistration
from eventbus.storage import schemas as stored_schemas
from eventbus.storage.database import Connection, Database
from eventbus.storage.schemas import StoredSchema

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Registered:
    """What a registration did."""

    #: Versions that were not there before.
    added: tuple[RegisteredSchema, ...] = ()
    #: Versions whose words, owner or mode changed.
    reworded: tuple[RegisteredSchema, ...] = ()


def register_schemas(
    database: Database,
    declared: SchemaRegistry,
    *,
    registration: SchemaRegistration,
    types: Iterable[str] | None = None,
    acceptances: Sequence[Acceptance] = (),
) -> Registered:
    """Bring the schemas of *types*, or all that are declared, into the registry, all or nothing.

    Idempotent, and safe from any number of processes at once.

    Raises:
        IncompatibleSchema: A new version would break somebody. Nothing was changed.
        SchemaEditedInPlace: A version is there with another wire form. Nothing was changed.
        SchemaNotRegistered: A version is not there, and *registration* only verifies.
    """
    wanted = [declared.get(type, version) for type in types or declared.types() for version in declared.versions(type)]
    if registration is SchemaRegistration.OFF or not wanted:
        return Registered()
    names = sorted({each.type for each in wanted})
    with database.autocommit() as connection:
        found = stored_schemas.list_schemas(connection, names)
    missing = _missing(wanted, found)
    if registration is SchemaRegistration.VERIFY:
        for each in missing.added:
            raise SchemaNotRegistered(each.type, each.version)
        return Registered()
    if not missing.added and not missing.reworded:
        return missing
    with database.transaction() as connection:
        stored_schemas.lock(connection)
        missing = _missing(wanted, stored_schemas.list_schemas(connection, names))
        _write(connection, declared, missing, acceptances)
    for each in missing.added:
        log.info("schema_registered", extra={"type": each.type, "version": each.version})
    return missing


def assess_declared(
    connection: Connection,
    declared: SchemaRegistry,
    candidate: RegisteredSchema,
    stored: Iterable[StoredSchema],
    *,
    acceptances: Sequence[Acceptance] = (),
) -> Assessment:
    """What *candidate* would break of the *stored* versions of its type, and for whom.

    Raises:
        SchemaEditedInPlace: Its version is there with another wire form.
    """
    readers = stored_schemas.list_readers(connection, candidate.type)
    groups = [GroupContract(group=each.group, reads=each.reads, version=each.version) for each in readers]
    return assess_candidate(declared, candidate, stored, groups=groups, acceptances=acceptances)


def assess_candidate(
    declared: SchemaRegistry,
    candidate: RegisteredSchema,
    stored: Iterable[StoredSchema],
    *,
    groups: Iterable[GroupContract] = (),
    acceptances: Sequence[Acceptance] = (),
) -> Assessment:
    """The same without a database."""
    known = {each.version: each for each in stored if each.type == candidate.type}
    living = {version: each.json_schema for version, each in known.items() if not each.is_retired}
    schemas = {version: make_schema(candidate.type, version, each) for version, each in living.items()}
    schemas[candidate.version] = candidate
    bridges = Bridges(
        upcasters=declared.upcasters,
        find=lambda _type, version: schemas.get(version),
        versions=lambda _type: schemas,
    )
    return assess(
        candidate.type,
        candidate.version,
        candidate.json_schema,
        living,
        mode=mode_of(candidate, known.values()),
        conversions=bridges,
        groups=groups,
        acceptances=acceptances,
        today=today(),
    )


def mode_of(candidate: RegisteredSchema, stored: Iterable[StoredSchema]) -> Mode:
    """What *candidate* is checked against: what it says itself, else what it said before, else as the newest version says."""
    if candidate.about.compatibility is not None:
        return candidate.about.compatibility
    known = {each.version: each.compatibility for each in stored}
    said = known.get(candidate.version) or known.get(max(known, default=0))
    return Mode(said) if said else Mode.FULL_TRANSITIVE


def today() -> date:
    """The day, for acceptances that end: the same everywhere."""
    return datetime.now(UTC).date()


def _missing(wanted: Iterable[RegisteredSchema], found: Iterable[StoredSchema]) -> Registered:
    """What of *wanted* has to be written."""
    known = {(each.type, each.version): each for each in found}
    added, reworded = [], []
    for each in wanted:
        stored = known.get((each.type, each.version))
        if stored is None:
            added.append(each)
            continue
        wire = wire_fingerprint(each.json_schema)
        if wire != stored.wire_fingerprint:
            raise SchemaEditedInPlace(each.type, each.version, stored.wire_fingerprint, wire)
        if _says_more(each, stored):
            reworded.append(each)
    return Registered(added=tuple(added), reworded=tuple(reworded))


def _says_more(declared: RegisteredSchema, stored: StoredSchema) -> bool:
    about = declared.about
    said = (about.compatibility, about.owner, about.description, about.deprecation, about.changelog)
    was = (stored.compatibility, stored.owner, stored.description, stored.deprecation, stored.changelog)
    differs = any(one is not None and one != other for one, other in zip(said, was, strict=True))
    return differs or text_fingerprint(declared.json_schema) != stored.text_fingerprint


def _write(
    connection: Connection, declared: SchemaRegistry, missing: Registered, acceptances: Sequence[Acceptance]
) -> None:
    for each in sorted((*missing.added, *missing.reworded), key=lambda each: (each.type, each.version)):
        stored = stored_schemas.list_schemas(connection, [each.type])
        accepted: list[dict[str, str]] = []
        if each in missing.added:
            found = assess_declared(connection, declared, each, stored, acceptances=acceptances)
            if found.breaking:
                raise IncompatibleSchema(each.type, each.version, sentence(found), found)
            used = {conflict.accepted for conflict in found.conflicts if conflict.accepted}
            accepted = [acceptance.as_json() for acceptance in acceptances if acceptance in used]
        stored_schemas.write(connection, as_stored(each, mode_of(each, stored), accepted=accepted))


def as_stored(schema: RegisteredSchema, mode: Mode, *, accepted: Sequence[dict[str, str]] = ()) -> StoredSchema:
    """*schema* as the registry keeps it."""
    about = schema.about
    return StoredSchema(
        type=schema.type,
        version=schema.version,
        json_schema=schema.json_schema,
        wire_fingerprint=wire_fingerprint(schema.json_schema),
        text_fingerprint=text_fingerprint(schema.json_schema),
        compatibility=str(mode),
        owner=about.owner,
        description=about.description or schema.json_schema.get("description"),
        deprecation=about.deprecation,
        changelog=about.changelog,
        accepted=tuple(accepted),
        registered_by=whoami(),
    )
