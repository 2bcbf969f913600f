"""Checking: what code declares, against a registry or a snapshot of one, without changing either.

known      registered with this very form       ok           breaks nobody
breaking   somebody is shown to break           cannot-tell  nobody has shown that it works
edited     registered with another form               retired      registered with this very form, and out of use
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from eventbus.errors import SchemaEditedInPlace
from eventbus.lifecycle.schema_registration import as_stored, assess_candidate
from eventbus.lifecycle.schema_snapshots import Snapshot
from eventbus.schemas.acceptance import Acceptance
from eventbus.schemas.assessment import Assessment, sentence
from eventbus.schemas.fingerprints import wire_fingerprint
from eventbus.schemas.registry import RegisteredSchema, SchemaRegistry
from eventbus.storage.schemas import StoredSchema


class Status(StrEnum):
    """What is to be said of a version that code declares."""

    KNOWN = "known"
    OK = "ok"
    BREAKING = "breaking"
    CANNOT_TELL = "cannot-tell"
    EDITED = "edited"
    RETIRED = "retired"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A version that code declares, and what is to be said of it."""

    schema: RegisteredSchema
    status: Status
    #: What it would break; None if it was edited in place, or is retired.
    assessment: Assessment | None = None
    #: Why it is refused, in words; empty if it is not.
    reason: str = ""


def check_declared(
    declared: SchemaRegistry, snapshot: Snapshot, *, acceptances: Sequence[Acceptance] = ()
) -> list[Checked]:
    """Every version that code declares, by type and version, as registering them one after the other would find them."""
    found = []
    for type in declared.types():
        for version in declared.versions(type):
            schema = declared.get(type, version)
            checked = _check(declared, schema, snapshot, acceptances)
            found.append(checked)
            if checked.assessment is not None and checked.status is not Status.KNOWN:
                snapshot = snapshot.with_schema(as_stored(schema, checked.assessment.mode))
    return found


def _check(
    declared: SchemaRegistry, schema: RegisteredSchema, snapshot: Snapshot, acceptances: Sequence[Acceptance]
) -> Checked:
    groups = snapshot.contracts(schema.type)
    registered = next((each for each in snapshot.of(schema.type) if each.version == schema.version), None)
    if registered is not None and registered.is_retired:
        return _check_retired(schema, registered)
    try:
        found = assess_candidate(declared, schema, snapshot.of(schema.type), groups=groups, acceptances=acceptances)
    except SchemaEditedInPlace as error:
        return Checked(schema=schema, status=Status.EDITED, reason=str(error))
    if found.is_known:
        return Checked(schema=schema, status=Status.KNOWN, assessment=found)
    if not found.breaking:
        return Checked(schema=schema, status=Status.OK, assessment=found)
    status = Status.BREAKING if found.is_provable else Status.CANNOT_TELL
    return Checked(schema=schema, status=status, assessment=found, reason=sentence(found))


def _check_retired(schema: RegisteredSchema, retired: StoredSchema) -> Checked:
    """Code may go on declaring it, to read its events; nothing is checked against it."""
    wire = wire_fingerprint(schema.json_schema)
    if wire == retired.wire_fingerprint:
        return Checked(schema=schema, status=Status.RETIRED)
    error = SchemaEditedInPlace(schema.type, schema.version, retired.wire_fingerprint, wire)
    return Checked(schema=schema, status=Status.EDITED, reason=str(error))
