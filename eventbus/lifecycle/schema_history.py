"""History: a candidate tried on every stored event of its type, as a handler of that version would read it.

    stored event ─▶ the steps to the candidate's version, if there are any ─▶ does it load?

Exact: what a JSON Schema validator accepts loads, and whatever it refuses is really loaded before it counts. Read in batches, from
the oldest event to the newest there was at the start.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from eventbus.errors import InvalidUpcast, UnreachableVersion
from eventbus.lifecycle.catalog import Catalog
from eventbus.redaction import conceal, secrets_in
from eventbus.schemas.canonical import CanonicalForm
from eventbus.schemas.loading import Trial, TriedForm
from eventbus.schemas.registry import RegisteredSchema
from eventbus.schemas.upcasting import UpcastStep, run_steps
from eventbus.storage import schema_history
from eventbus.storage import schemas as stored_schemas
from eventbus.storage.database import Database
from eventbus.storage.schema_history import BEGINNING, StoredEvent
from eventbus.wire import decode

_BATCH = 5000
_SAMPLES = 5

#: Told, after each batch: the type, and how many of its events were tried.
Watch = Callable[[str, int], None]


@dataclass(kw_only=True)
class VersionHistory:
    """What became of the events that were published in one version."""

    version: int
    events: int = 0
    #: How many would not load.
    failed: int = 0
    #: When the oldest and the newest of those were published.
    first_failed_at: datetime | None = None
    last_failed_at: datetime | None = None
    #: The oldest of them.
    samples: list[UUID] = field(default_factory=list)
    #: How often each field was refused, by wire path.
    errors: Counter[str] = field(default_factory=Counter)
    #: A message for each of these fields.
    messages: dict[str, str] = field(default_factory=dict)

    def fail(self, event: StoredEvent, errors: dict[str, list[str]], *, hidden: Sequence[str]) -> None:
        """Count *event*, which would not load; what it has at the paths *hidden* is in no message."""
        self.failed += 1
        self.first_failed_at = self.first_failed_at or event.created_at
        self.last_failed_at = event.created_at
        if len(self.samples) < _SAMPLES:
            self.samples.append(event.id)
        for path, messages in errors.items():
            self.errors[path] += 1
            if path not in self.messages:
                self.messages[path] = conceal(messages[0], secrets_in(decode(event.data), hidden))


@dataclass(kw_only=True)
class TypeHistory:
    """What became of the events of one type under the candidate."""

    type: str
    candidate: int
    #: Groups that get events of this type.
    groups: tuple[str, ...] = ()
    versions: dict[int, VersionHistory] = field(default_factory=dict)
    #: All events there were at the start have been tried.
    is_complete: bool = False

    @property
    def events(self) -> int:
        return sum(each.events for each in self.versions.values())

    @property
    def failed(self) -> int:
        return sum(each.failed for each in self.versions.values())


def check_history(
    database: Database,
    catalog: Catalog,
    type: str,
    *,
    hidden: Sequence[str] = (),
    watch: Watch = lambda _type, _events: None,
    stop: threading.Event | None = None,
) -> TypeHistory:
    """Try the newest version of *type* that code declares on all stored events of the type.

    Args:
        database: Only read.
        catalog: Knows the candidate, and the steps that lead to it.
        type: A type that code declares.
        hidden: Paths of events, as `Settings.redact` has them; no message repeats what is there.
        watch: Told how far it is, after each batch.
        stop: Ends the check after a batch; the answer says that it is not complete.
    """
    candidate = catalog.declared.get(type, catalog.declared.versions(type)[-1])
    trial = _Trial(catalog, candidate)
    with database.autocommit() as connection:
        readers = stored_schemas.list_readers(connection, type)
        last = schema_history.newest_event(connection, type)
    found = TypeHistory(type=type, candidate=candidate.version, groups=tuple(each.group for each in readers))
    after = BEGINNING
    while last is not None and after != last and not (stop and stop.is_set()):
        with database.autocommit() as connection:
            batch = schema_history.next_events(connection, type, after=after, last=last, limit=_BATCH)
        for event in batch:
            history = found.versions.setdefault(event.version, VersionHistory(version=event.version))
            history.events += 1
            errors = trial.errors(event)
            if errors:
                history.fail(event, errors, hidden=hidden)
        after = batch[-1].id if batch else last
        watch(type, found.events)
    found.is_complete = last is None or after == last
    return found


class _Trial:
    """Tries to load events in the candidate."""

    def __init__(self, catalog: Catalog, candidate: RegisteredSchema) -> None:
        self._catalog = catalog
        self._candidate = candidate
        self._steps: dict[int, tuple[UpcastStep, ...]] = {}
        assert candidate.schema is not None
        self._loading = Trial(candidate.schema, dict(candidate.json_schema))
        self._forms: dict[int, TriedForm] = {}

    def errors(self, event: StoredEvent) -> dict[str, list[str]]:
        """Why *event* would not load, by wire path; empty if it would."""
        data = decode(event.data)
        steps = self._path(event.version)
        if steps:
            try:
                data = run_steps(
                    steps, data, version=self._candidate.version, validate=self._canonical, is_spare=True
                ).data
            except InvalidUpcast as error:
                return error.errors
        return self._loading.errors(data)

    def _canonical(self, type: str, version: int, data: dict[str, Any]) -> Any:
        """What the catalog makes of *data*, sooner."""
        if version not in self._forms:
            found = self._catalog.find(type, version)
            if found is None or not isinstance(found.form, CanonicalForm):
                return self._catalog.canonical(type, version, data)
            self._forms[version] = TriedForm(found.form, dict(found.json_schema))
        return self._forms[version](data)

    def _path(self, version: int) -> tuple[UpcastStep, ...]:
        """The declared steps from *version*; none where there is no way, so that the event is read as it is."""
        if version not in self._steps:
            way = self._catalog.declared.upcasters.path(self._candidate.type, version, self._candidate.version)
            if isinstance(way, UnreachableVersion):
                mixed = self._catalog.bridges.path(self._candidate.type, version, self._candidate.version)
                way = () if isinstance(mixed, UnreachableVersion) or len(mixed) == 1 else mixed
            self._steps[version] = way
        return self._steps[version]
