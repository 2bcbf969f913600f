"""Bridging: every way from one version of an event type to another, declared or evident.

    declared   an upcaster or a downcaster, to the neighbouring version
    evident    the reader's schema takes, without loss, whatever the writer's can emit: the data is read as it is

An evident way prunes what the reader does not know and fills in its defaults. Without it, a handler that asks for version 1
would need a downcaster for each optional field that is ever added.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from eventbus.errors import UnreachableVersion
from eventbus.schemas.compatibility import check
from eventbus.schemas.pruning import prune_stored
from eventbus.schemas.reading import prune
from eventbus.schemas.registry import RegisteredSchema
from eventbus.schemas.upcasting import Converted, Data, Upcasters, UpcastStep, Validate, run_steps

#: Finds one version of a type, or None.
Find = Callable[[str, int], RegisteredSchema | None]
#: The versions of a type that anybody knows.
Versions = Callable[[str], Iterable[int]]
Path = tuple[UpcastStep, ...]


@dataclass(kw_only=True)
class Bridges:
    """Ways between versions. Safe to share between threads: a verdict is only ever computed twice, never changed."""

    upcasters: Upcasters
    find: Find
    versions: Versions
    _evident: dict[tuple[str, int, int], UpcastStep | None] = field(default_factory=dict)

    def can_convert(self, type: str, from_version: int, to_version: int) -> bool:
        """Whether there is a way."""
        return isinstance(self.path(type, from_version, to_version), tuple)

    def path(self, type: str, from_version: int, to_version: int) -> Path | UnreachableVersion:
        """The steps from one version to another, declared ones first; as a value, why there are none."""
        declared = self.upcasters.path(type, from_version, to_version)
        if isinstance(declared, tuple):
            return declared
        if not self._has_steps(type, from_version, to_version):
            direct = self._evident_step(type, from_version, to_version)
            if direct is not None:
                return (direct,)
        return self._mixed(type, from_version, to_version)

    def convert(
        self, type: str, from_version: int, to_version: int, data: Data, *, validate: Validate
    ) -> Converted | UnreachableVersion:
        """*data* of one version as data of another, each step's output validated; as a value, why there is no way.

        Raises:
            InvalidUpcast: A step raised or gave what its target version refuses.
        """
        path = self.path(type, from_version, to_version)
        if isinstance(path, UnreachableVersion):
            return path
        return run_steps(path, data, version=to_version, validate=validate)

    def _has_steps(self, type: str, from_version: int, to_version: int) -> bool:
        low, high = sorted((from_version, to_version))
        is_up = to_version > from_version
        return any(
            step.is_up is is_up and low <= min(step.from_version, step.to_version) < high
            for step in self.upcasters.steps(type)
        )

    def _mixed(self, type: str, from_version: int, to_version: int) -> Path | UnreachableVersion:
        found: list[UpcastStep] = []
        at, direction = from_version, 1 if to_version > from_version else -1
        known = sorted(self.versions(type), reverse=direction < 0)
        while at != to_version:
            step = self.upcasters.find(type, at, at + direction)
            if step is None:
                between = [version for version in known if at < version < to_version or to_version < version < at]
                target = between[0] if between else to_version
                step = self._evident_step(type, at, target)
            if step is None:
                return UnreachableVersion(type, from_version, to_version, (at, target))
            found.append(step)
            at = step.to_version
        return tuple(found)

    def _evident_step(self, type: str, from_version: int, to_version: int) -> UpcastStep | None:
        key = type, from_version, to_version
        if key not in self._evident:
            writer, reader = self.find(type, from_version), self.find(type, to_version)
            if writer is None or reader is None:
                return None  # and ask again: it may be registered any moment
            is_evident = not check(reader.json_schema, writer.json_schema)
            self._evident[key] = _reading(reader, from_version) if is_evident else None
        return self._evident[key]


def _reading(reader: RegisteredSchema, from_version: int) -> UpcastStep:
    """The step that reads data of another version as that of *reader*."""

    def read(data: Data) -> Any:
        if reader.schema is not None:
            return prune(reader.schema, data).data
        return prune_stored(reader.json_schema, data)

    return UpcastStep(type=reader.type, from_version=from_version, to_version=reader.version, convert=read)
