"""The schemas that this process knows, by event type and version, and the conversions between them.

    register ─▶ convert, fingerprint ─▶ canonical (publish) · load (consume)

Filled when modules are imported and when stored schemas are fetched; then only read, from any thread. A version is
never replaced by another wire form.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import Schema

from eventbus.errors import InvalidSchema, UnknownEventVersion
from eventbus.event import check_type
from eventbus.schemas.about import About
from eventbus.schemas.canonical import CanonicalForm
from eventbus.schemas.conversion import convert, instance_of
from eventbus.schemas.reading import read
from eventbus.schemas.soundness import refuse_unsound
from eventbus.schemas.stored import StoredForm
from eventbus.schemas.upcasting import Upcasters
from eventbus.schemas.validator_conversion import OPAQUE
from eventbus.schemas.versions import refuse_edit_in_place


@dataclass(frozen=True, kw_only=True)
class RegisteredSchema:
    """One version of one event type."""

    type: str
    version: int
    json_schema: Mapping[str, Any]
    #: The class it was declared with; None if only its JSON Schema is known here.
    schema: Schema | None
    #: What deserves a second look, a sentence each.
    warnings: tuple[str, ...]
    form: CanonicalForm | StoredForm
    #: What people say of it.
    about: About = field(default_factory=About)


_NONE: Mapping[int, RegisteredSchema] = {}


@dataclass(kw_only=True)
class SchemaRegistry:
    """Schemas by type and version."""

    upcasters: Upcasters = field(default_factory=Upcasters)
    _schemas: dict[str, dict[int, RegisteredSchema]] = field(default_factory=dict)

    def register(
        self,
        type: str,
        version: int,
        schema: Schema | type[Schema] | Mapping[str, Any],
        *,
        about: About | None = None,
    ) -> RegisteredSchema:
        """Make a version known; the same one again is no change, and a class takes the place of its JSON Schema.

        Raises:
            InvalidEventType: The type is malformed.
            InvalidSchema: The version or the class cannot be used.
            SchemaEditedInPlace: The version is known with another wire form.
        """
        check_type(type)
        _check_version(type, version)
        candidate = make_schema(type, version, schema, about=about)
        known = self._schemas.setdefault(type, {})
        stored = known.get(version)
        refuse_edit_in_place(type, version, candidate.json_schema, stored and stored.json_schema)
        if stored is None or candidate.schema is not None:
            self._schemas[type] = {**known, version: candidate}
        return self._schemas[type][version]

    def types(self) -> list[str]:
        """The types that have a schema here, sorted."""
        return sorted(type for type, versions in self._schemas.items() if versions)

    def known(self, type: str) -> Mapping[int, RegisteredSchema]:
        """The versions of a type; another object after each change."""
        return self._schemas.get(type, _NONE)

    def versions(self, type: str) -> list[int]:
        """The versions of a type, oldest first; empty if none is known."""
        return sorted(self._schemas.get(type, {}))

    def get(self, type: str, version: int) -> RegisteredSchema:
        """One version of a type.

        Raises:
            UnknownEventVersion: It is not known.
        """
        try:
            return self._schemas[type][version]
        except KeyError:
            raise UnknownEventVersion(type, version, self.versions(type)) from None

    def find(self, type: str, version: int) -> RegisteredSchema | None:
        """One version of a type, or None."""
        return self._schemas.get(type, {}).get(version)

    def knows(self, type: str, version: int) -> bool:
        """Whether that version has a schema here."""
        return version in self._schemas.get(type, {})

    def canonical(self, type: str, version: int, data: Any) -> Any:
        """The form of *data* that is stored.

        Raises:
            DataRefused: It does not fit its schema; every field's messages by wire path.
            UnknownEventVersion: The version is not known.
        """
        return self.get(type, version).form(data)

    def load(self, type: str, version: int, data: dict[str, Any]) -> Any:
        """What the schema of a version loads from stored data, unknown keys left out; the data itself without a class.

        Raises:
            DataRefused: The data does not load.
            UnknownEventVersion: The version is not known.
        """
        schema = self.get(type, version).schema
        return data if schema is None else read(schema, data)

    def refuse_gaps(self, stored: Mapping[str, Iterable[int]] | None = None) -> None:
        """Make sure that upcasters join versions that exist.

        Args:
            stored: Versions by type that exist beside those of this process.

        Raises:
            UpcasterConflict: They do not.
        """
        others = stored or {}
        types = {*self._schemas, *others}
        self.upcasters.refuse_gaps({type: {*self.versions(type), *others.get(type, ())} for type in types})


def _check_version(type: str, version: int) -> None:
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version < 1 << 31:
        raise InvalidSchema(type, f"version={version!r} must be a whole number from 1.")


def make_schema(type: str, version: int, schema: Any, *, about: About | None = None) -> RegisteredSchema:
    """*schema*, a marshmallow class or a JSON Schema, made ready to validate and to load.

    Raises:
        InvalidSchema: The class cannot be used.
    """
    said = about or About()
    if isinstance(schema, Mapping):
        json_schema = dict(schema)
        refuse_unsound(json_schema, f"{type} version {version}")
        form: CanonicalForm | StoredForm = StoredForm(json_schema)
        return RegisteredSchema(
            type=type, version=version, json_schema=json_schema, schema=None, warnings=(), form=form, about=said
        )
    if not _is_schema_class(schema):
        raise InvalidSchema(f"{type} version {version}", f"{schema!r} is not a marshmallow Schema class.")
    instance = instance_of(schema)
    conversion = convert(instance)
    return RegisteredSchema(
        type=type,
        version=version,
        json_schema=conversion.json_schema,
        schema=instance,
        warnings=conversion.warnings,
        form=CanonicalForm(instance, has_code=OPAQUE in json.dumps(conversion.json_schema)),
        about=said,
    )


def _is_schema_class(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Schema)
