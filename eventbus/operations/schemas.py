"""Schemas: the methods of a bus that declare them, join their versions, and look into the registry."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TypeVar

from marshmallow import Schema

from eventbus.errors import UnknownEventVersion
from eventbus.event import check_type
from eventbus.lifecycle import schema_registration
from eventbus.lifecycle.auditing import audited
from eventbus.lifecycle.catalog import Catalog
from eventbus.lifecycle.reading import Reading
from eventbus.lifecycle.schema_comparing import Comparison, compare
from eventbus.lifecycle.schema_registration import Registered
from eventbus.operations.parts import Parts
from eventbus.schemas.about import About, refuse_unstorable
from eventbus.schemas.acceptance import Acceptance
from eventbus.schemas.contracts import GroupContract
from eventbus.schemas.registry import SchemaRegistry
from eventbus.schemas.upcasting import Convert
from eventbus.schemas.versions import read_mode
from eventbus.settings import SchemaRegistration
from eventbus.storage import parking
from eventbus.storage import schemas as stored_schemas
from eventbus.storage.parking import ParkedVersion
from eventbus.storage.schemas import StoredSchema
from eventbus.subscription import check_group

SchemaClass = TypeVar("SchemaClass", bound=type[Schema])


class SchemaOperations(Parts):
    """What a bus does with the forms of its events."""

    schemas: SchemaRegistry

    @cached_property
    def catalog(self) -> Catalog:
        """The schemas that count here, from this code and from the registry."""
        return Catalog(
            declared=self.schemas,
            database=lambda: self.database,
            registration=lambda: self.settings.schema_registration,
        )

    @cached_property
    def reading(self) -> Reading:
        """Brings events into the form that a handler reads."""
        return Reading(catalog=self.catalog)

    def event(
        self,
        type: str,
        version: int = 1,
        *,
        compatibility: str | None = None,
        owner: str | None = None,
        description: str | None = None,
        deprecation: str | None = None,
        changelog: str | None = None,
    ) -> Callable[[SchemaClass], SchemaClass]:
        """Declare the decorated marshmallow Schema class as the form of *type* in *version*; see `register_schema`."""

        def register(schema: SchemaClass) -> SchemaClass:
            self.register_schema(
                type,
                version,
                schema,
                compatibility=compatibility,
                owner=owner,
                description=description,
                deprecation=deprecation,
                changelog=changelog,
            )
            return schema

        return register

    def register_schema(
        self,
        type: str,
        version: int,
        schema: type[Schema],
        *,
        compatibility: str | None = None,
        owner: str | None = None,
        description: str | None = None,
        deprecation: str | None = None,
        changelog: str | None = None,
    ) -> None:
        """Declare *schema* as the form of *type* in *version*.

        It reaches the registry in PostgreSQL when a worker starts, when the first event of the type is published, and by
        'eventbus schema push'; EVENTBUS_SCHEMA_REGISTRATION says whether it may.

        Args:
            type: Event type.
            version: From 1; a version keeps its wire form for ever.
            schema: A marshmallow Schema class.
            compatibility: What a new version is checked against: BACKWARD, FORWARD, FULL, each also with _TRANSITIVE, or NONE.
                Left out, it is that of the version before; at first FULL_TRANSITIVE.
            owner: Who answers questions about it.
            description: What it says; by default the class's docstring.
            deprecation: Why it should not be published any more.
            changelog: What changed against the version before.

        Raises:
            InvalidEventType: The type is malformed.
            InvalidSchema: The class or an option cannot be used, or another class is declared for that version.
        """
        refuse_unstorable(type, owner=owner, description=description, deprecation=deprecation, changelog=changelog)
        about = About(
            compatibility=None if compatibility is None else read_mode(type, compatibility),
            owner=owner,
            description=description,
            deprecation=deprecation,
            changelog=changelog,
        )
        self.schemas.register(type, version, schema, about=about)

    def upcaster(self, type: str, from_version: int, to_version: int) -> Callable[[Convert], Convert]:
        """Declare the decorated function as the step from a version to the next; a pure function from data to data.

        Raises:
            InvalidEventType: The type is malformed.
            UpcasterConflict: It is declared already, or does not lead to the next version.
        """
        return self.schemas.upcasters.upcaster(type, from_version, to_version)

    def downcaster(
        self, type: str, from_version: int, to_version: int, *, lossy: Iterable[str] = ()
    ) -> Callable[[Convert], Convert]:
        """The same for the step to the previous version; *lossy* are the wire paths that do not survive it.

        Raises:
            UpcasterConflict: It is declared already, or does not lead to the previous version.
        """
        return self.schemas.upcasters.downcaster(type, from_version, to_version, lossy=lossy)

    def push_schemas(self, *, acceptances: Sequence[Acceptance] = ()) -> Registered:
        """Write all schemas that this code declares to the registry, whatever the setting says; all or nothing.

        Raises:
            IncompatibleSchema, SchemaEditedInPlace: Nothing was changed.
        """
        self.catalog.refuse_gaps()
        meant = {"types": self.schemas.types(), "accepted": [each.as_json() for each in acceptances] or None}
        with audited(self.database, "schema push", meant) as change:
            done = schema_registration.register_schemas(
                self.database, self.schemas, registration=SchemaRegistration.REGISTER, acceptances=acceptances
            )
            change.changed = len(done.added) + len(done.reworded)
        return done

    def stored_schemas(self, type: str | None = None) -> list[StoredSchema]:
        """The registry: all versions of *type*, or of all types.

        Raises:
            InvalidEventType: The type is malformed.
        """
        if type is not None:
            check_type(type)
        with self.database.autocommit() as connection:
            return stored_schemas.list_schemas(connection, None if type is None else [type])

    def schema_readers(self, type: str) -> list[GroupContract]:
        """The groups that an event of *type* would go to now, and what each says of its reading; by name.

        Raises:
            InvalidEventType: The type is malformed.
        """
        check_type(type)
        with self.database.autocommit() as connection:
            readers = stored_schemas.list_readers(connection, type)
        return [GroupContract(group=each.group, reads=each.reads, version=each.version) for each in readers]

    def compare_schemas(
        self, before: StoredSchema, after: StoredSchema, *, readers: Sequence[GroupContract] = ()
    ) -> Comparison:
        """What lies between two versions of a type, what either cannot read of the other, and what that does to *readers*."""
        return compare(before, after, groups=readers, conversions=self.catalog.bridges)

    def retire_schema(self, type: str, version: int) -> bool:
        """Take a version out of use for good: it may not be published, and nothing is checked against it; False if it was.

        Raises:
            InvalidEventType: The type is malformed.
            UnknownEventVersion: It is not in the registry.
        """
        check_type(type)
        with self.database.autocommit() as connection:
            known = [each.version for each in stored_schemas.list_schemas(connection, [type])]
        if version not in known:
            raise UnknownEventVersion(type, version, known)
        with audited(self.database, "schema retire", {"type": type, "version": version}, asked=1) as change:
            with self.database.transaction() as connection:
                stored_schemas.lock(connection)
                retired = stored_schemas.retire(connection, type, version)
            change.changed = int(retired)
        return retired

    def parked(self, group: str | None = None) -> list[ParkedVersion]:
        """Deliveries that wait for code which can read their events, by group, type and version.

        Raises:
            InvalidGroup: The group's name is malformed.
        """
        if group is not None:
            check_group(group)
        with self.database.autocommit() as connection:
            return parking.list_parked(connection, group)
