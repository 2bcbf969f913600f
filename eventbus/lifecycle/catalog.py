"""The catalog: the schemas that count here, those of this process's code and those in the registry.

    declared by code ──▶ publish, load     a class, registered before the first event of its type is published
    in the registry ───▶ publish, convert  for versions without a class here

What the registry holds is kept in memory, and asked for one number every `REFRESH` seconds of use: a version that is registered or
retired anywhere is known everywhere that much later, at the latest.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from eventbus.errors import SchemaRetired, UnknownEventType, UnknownEventVersion, UnreachableVersion
from eventbus.lifecycle.schema_registration import Registered, register_schemas
from eventbus.schemas.bridging import Bridges
from eventbus.schemas.registry import RegisteredSchema, SchemaRegistry, make_schema
from eventbus.schemas.upcasting import Converted
from eventbus.settings import SchemaRegistration
from eventbus.storage import schemas as stored_schemas
from eventbus.storage.database import Database

log = logging.getLogger(__name__)

#: How long a change of the registry may stay unseen here.
REFRESH = timedelta(seconds=5)


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """The versions of one type in the registry."""

    living: Mapping[int, RegisteredSchema] = field(default_factory=dict)
    retired: Mapping[int, RegisteredSchema] = field(default_factory=dict)

    def find(self, version: int) -> RegisteredSchema | None:
        return self.living.get(version) or self.retired.get(version)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The version that was resolved, and its schema if there is one; good as long as what was known then is the same objects."""

    version: int
    schema: RegisteredSchema | None
    declared: Mapping[int, RegisteredSchema]
    stored: _Stored


@dataclass(kw_only=True)
class Catalog:
    """Schemas by type and version, from code and registry. Safe to share between threads, and after a fork."""

    declared: SchemaRegistry
    database: Callable[[], Database]
    registration: Callable[[], SchemaRegistration]
    #: Seconds, from any start.
    clock: Callable[[], float] = time.monotonic
    bridges: Bridges = field(init=False)
    _stored: dict[str, _Stored] = field(default_factory=dict)
    _revision: int = -1
    _fresh_until: float = float("-inf")
    #: The versions of each type that this process has registered.
    _registered: dict[str, list[int]] = field(default_factory=dict)
    _choices: dict[tuple[str, int | None], Choice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bridges = Bridges(upcasters=self.declared.upcasters, find=self.find, versions=self.versions)

    def register(self, types: Iterable[str] | None = None) -> Registered:
        """Bring what code declares into the registry, as the setting says; all types, or *types*.

        Raises:
            IncompatibleSchema, SchemaEditedInPlace, SchemaNotRegistered: Nothing was changed.
            UpcasterConflict: Steps between versions are no chain.
        """
        chosen = list(self.declared.types() if types is None else types)
        done = register_schemas(self.database(), self.declared, registration=self.registration(), types=chosen)
        self._registered |= {type: self.declared.versions(type) for type in chosen}
        if done.added or done.reworded:
            self._fresh_until = float("-inf")
        return done

    def refuse_gaps(self) -> None:
        """Make sure that upcasters join versions that exist, here or in the registry.

        Raises:
            UpcasterConflict: They do not.
        """
        types = self.declared.upcasters.types()
        self.declared.refuse_gaps({type: self.versions(type) for type in types})

    def resolve(self, type: str, version: int | None, *, strict: bool) -> Choice:
        """What an event of *type* is published in: the version given, else the only one, else 1 without a schema.

        Classes of this process count first: the registry is asked for types that have none here.

        Raises:
            UnknownEventVersion: That version has no schema but others have, or several have and none was given.
            UnknownEventType: There is no schema at all, and *strict* asks for one.
            SchemaRetired: That version may not be published any more.
            IncompatibleSchema, SchemaEditedInPlace, SchemaNotRegistered: The type is published by this process for the first
                time, and its schema is refused.
        """
        declared, choice = self.declared.known(type), self._choices.get((type, version))
        if choice and choice.declared is declared and choice.stored is self._of(type):
            return choice
        known = self._stored.get(type, _NOTHING)
        chosen = self._choose(type, version, strict=strict)
        stored = self._of(type)
        choice = Choice(version=chosen, schema=self.find(type, chosen), declared=declared, stored=stored)
        # Kept only if nothing was learned meanwhile: what was chosen by less would count for more.
        if (declared or stored.living) and stored is known and declared is self.declared.known(type):
            self._choices[type, version] = choice
        return choice

    def _choose(self, type: str, version: int | None, *, strict: bool) -> int:
        own = self.declared.versions(type)
        if own and self._registered.get(type) != own:
            self.register([type])
        stored = self._of(type)
        living = sorted({*own, *stored.living} - stored.retired.keys())
        if version is None:
            choice = [each for each in own if each in living] or living
            version = choice[0] if len(choice) == 1 else None
        if version is not None and version in stored.retired:
            raise SchemaRetired(type, version, living)
        if not living:
            if strict:
                raise UnknownEventType(type)
            return version or 1
        if version not in living:
            raise UnknownEventVersion(type, version, living)
        return version

    def find(self, type: str, version: int) -> RegisteredSchema | None:
        """One version of a type, by its class if there is one here; None if nobody knows it."""
        return self.declared.find(type, version) or self._of(type).find(version)

    def versions(self, type: str) -> list[int]:
        """All versions of a type that anybody knows, retired ones too, oldest first."""
        stored = self._of(type)
        return sorted({*self.declared.versions(type), *stored.living, *stored.retired})

    def canonical(self, type: str, version: int, data: Any) -> Any:
        """The form of *data* that is stored.

        Raises:
            DataRefused: It does not fit its schema; every field's messages by wire path.
            UnknownEventVersion: The version is not known.
        """
        schema = self.find(type, version)
        if schema is None:
            raise UnknownEventVersion(type, version, self.versions(type))
        return schema.form(data)

    def convert(
        self, type: str, from_version: int, to_version: int, data: dict[str, Any]
    ) -> Converted | UnreachableVersion:
        """Stored data in the version that a handler reads, each step validated; as a value, why there is no way.

        Raises:
            InvalidUpcast: A step raised or gave what its version refuses.
        """
        return self.bridges.convert(type, from_version, to_version, data, validate=self.canonical)

    def load(self, type: str, version: int, data: Any) -> Any:
        """What the class of a version loads from stored data, unknown keys left out; the data itself without a class.

        Raises:
            DataRefused: The data does not load.
        """
        return self.declared.load(type, version, data) if self.declared.knows(type, version) else data

    def _of(self, type: str) -> _Stored:
        """What the registry holds of a type, at most `REFRESH` old."""
        if self.registration() is SchemaRegistration.OFF:
            return _NOTHING
        if self.clock() >= self._fresh_until:
            self._refresh()
        # Held on to, so that what was read before a refresh in another thread is not taken for what came after.
        kept = self._stored
        found = kept.get(type)
        if found is None:
            found = kept[type] = self._read(type)
        return found

    def _refresh(self) -> None:
        with self.database().autocommit() as connection:
            revision = stored_schemas.newest_revision(connection)
        if revision != self._revision:
            # In this order: what is read from here on is at least as new as the number.
            self._revision, self._stored = revision, {}
        self._fresh_until = self.clock() + REFRESH.total_seconds()

    def _read(self, type: str) -> _Stored:
        with self.database().autocommit() as connection:
            found = stored_schemas.list_schemas(connection, [type])
        made = {each.version: make_schema(type, each.version, each.json_schema) for each in found}
        retired = {each.version for each in found if each.is_retired}
        return _Stored(
            living={version: schema for version, schema in made.items() if version not in retired},
            retired={version: schema for version, schema in made.items() if version in retired},
        )


_NOTHING = _Stored()
