"""Steps between neighbouring versions of an event type, and the chains made of them.

    stored version ─▶ step ─▶ validate ─▶ step ─▶ validate ─▶ the version a handler reads

An event stays stored as it was published; it is converted when it is consumed, per handler. A step is a pure function
from data to data. A chain never goes around: from version 1 to 3 there is exactly one way.
"""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from eventbus.errors import InvalidUpcast, UnreachableVersion, UpcasterConflict
from eventbus.event import check_type
from eventbus.failure import read_message
from eventbus.schemas.refusal import DataRefused
from eventbus.wording import shown

Data = dict[str, Any]
Convert = Callable[[Data], Data]
#: Gives the canonical form of data of a type and version, made anew, or raises DataRefused.
Validate = Callable[[str, int, Data], Data]


@dataclass(frozen=True, kw_only=True)
class UpcastStep:
    """One step to a neighbouring version, up or down."""

    type: str
    from_version: int
    to_version: int
    convert: Convert
    #: Wire paths whose values do not survive the step; shown wherever the chain is.
    lossy: tuple[str, ...] = ()

    @property
    def is_up(self) -> bool:
        """Whether it leads to the newer version."""
        return self.to_version > self.from_version


@dataclass(frozen=True, kw_only=True)
class Converted:
    """Data in the version that was asked for."""

    data: Data
    version: int
    #: Wire paths that the chain lost.
    lossy: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Upcasters:
    """The steps of all event types. Filled at import, then only read."""

    _steps: dict[tuple[str, int, int], UpcastStep] = field(default_factory=dict)

    def add(self, step: UpcastStep) -> UpcastStep:
        """Declare a step.

        Raises:
            UpcasterConflict: It is not to a neighbour, leads nowhere, or is declared already.
        """
        key = step.type, step.from_version, step.to_version
        if step.from_version == step.to_version:
            raise UpcasterConflict(*key, "a step from a version to itself is a cycle")
        if abs(step.to_version - step.from_version) != 1:
            raise UpcasterConflict(*key, "steps lead to the next or the previous version; declare one for each")
        if min(step.from_version, step.to_version) < 1:
            raise UpcasterConflict(*key, "versions start at 1")
        if key in self._steps:
            raise UpcasterConflict(*key, f"declared twice: {_name(self._steps[key].convert)} and {_name(step.convert)}")
        self._steps[key] = step
        return step

    def upcaster(self, type: str, from_version: int, to_version: int) -> Callable[[Convert], Convert]:
        """Decorator for a step to the next version."""
        return self._decorator(type, from_version, to_version, is_up=True, lossy=())

    def downcaster(
        self, type: str, from_version: int, to_version: int, *, lossy: Iterable[str] = ()
    ) -> Callable[[Convert], Convert]:
        """Decorator for a step to the previous version; *lossy* are the wire paths that do not survive it."""
        paths = tuple(lossy) if isinstance(lossy, Iterable) and not isinstance(lossy, str) else (lossy,)
        if lossy in paths or not all(isinstance(each, str) for each in paths):
            reason = f"lossy={shown(lossy)} must be a list of wire paths, such as ['lines[].note']"
            raise UpcasterConflict(type, from_version, to_version, reason)
        return self._decorator(type, from_version, to_version, is_up=False, lossy=paths)

    def _decorator(
        self, type: str, from_version: int, to_version: int, *, is_up: bool, lossy: tuple[str, ...]
    ) -> Callable[[Convert], Convert]:
        check_type(type)
        for version in (from_version, to_version):
            if isinstance(version, bool) or not isinstance(version, int) or version < 1:
                reason = f"{shown(version)} is no version: they are whole numbers from 1"
                raise UpcasterConflict(type, from_version, to_version, reason)
        if (to_version > from_version) != is_up:
            wanted = "an upcaster leads to a newer version" if is_up else "a downcaster leads to an older version"
            raise UpcasterConflict(type, from_version, to_version, wanted)

        def declare(convert: Convert) -> Convert:
            if not callable(convert):
                raise UpcasterConflict(
                    type, from_version, to_version, f"{shown(convert)} is no function from data to data"
                )
            step = UpcastStep(type=type, from_version=from_version, to_version=to_version, convert=convert, lossy=lossy)
            self.add(step)
            return convert

        return declare

    def find(self, type: str, from_version: int, to_version: int) -> UpcastStep | None:
        """The declared step between two versions, or None."""
        return self._steps.get((type, from_version, to_version))

    def types(self) -> list[str]:
        """The types that have steps, sorted."""
        return sorted({step.type for step in self._steps.values()})

    def steps(self, type: str) -> list[UpcastStep]:
        """The steps of a type, by version."""
        found = [step for step in self._steps.values() if step.type == type]
        return sorted(found, key=lambda step: (step.from_version, step.to_version))

    def refuse_gaps(self, versions: Mapping[str, Iterable[int]]) -> None:
        """Make sure that steps join versions that exist, without holes; called when declaring is over.

        Raises:
            UpcasterConflict: A step touches a version that has no schema, or two parts of a chain do not meet.
        """
        for type in sorted({step.type for step in self._steps.values()}):
            known = set(versions.get(type, ()))
            for is_up in (True, False):
                chain = [step for step in self.steps(type) if step.is_up is is_up]
                _refuse_unknown(chain, known)
                _refuse_gap(chain)

    def can_convert(self, type: str, from_version: int, to_version: int) -> bool:
        """Whether there is a chain of steps."""
        return isinstance(self.path(type, from_version, to_version), tuple)

    def path(self, type: str, from_version: int, to_version: int) -> tuple[UpcastStep, ...] | UnreachableVersion:
        """The steps from one version to another, in order; as a value, why there are none."""
        direction = 1 if to_version > from_version else -1
        found = []
        for version in range(from_version, to_version, direction):
            step = self._steps.get((type, version, version + direction))
            if step is None:
                return UnreachableVersion(type, from_version, to_version, (version, version + direction))
            found.append(step)
        return tuple(found)


def run_steps(
    path: Iterable[UpcastStep], data: Data, *, version: int, validate: Validate | None, is_spare: bool = False
) -> Converted:
    """*data* after all steps of *path*, which leads to *version*.

    Args:
        is_spare: Nobody else needs *data*: the first step may change it.

    Raises:
        InvalidUpcast: A step raised or gave what its target version refuses.
    """
    lossy: dict[str, None] = {}
    for step in path:
        data = _run(step, data if is_spare else _copied(data), validate)
        is_spare = validate is not None
        lossy |= dict.fromkeys(step.lossy)
    return Converted(data=data, version=version, lossy=tuple(lossy))


def _run(step: UpcastStep, data: Data, validate: Validate | None) -> Data:
    key = step.type, step.from_version, step.to_version
    try:
        converted = step.convert(data)
    # The step is the user's code: whatever it raises is the failure of this conversion, and the cause is kept.
    except Exception as error:
        raise InvalidUpcast(
            *key, {"": [f"{_name(step.convert)} raised {type(error).__name__}: {read_message(error)}"]}
        ) from error
    if not isinstance(converted, dict):
        raise InvalidUpcast(*key, {"": [f"{_name(step.convert)} returned {type(converted).__name__}, not a dict"]})
    if validate is None:
        return converted
    try:
        return validate(step.type, step.to_version, converted)
    except DataRefused as error:
        raise InvalidUpcast(*key, error.errors) from error


def _copied(data: Any) -> Any:
    """What a step may change. Of JSON this is a copy, in a fifth of deepcopy's time; steps may leave other things in it."""
    kind = type(data)
    if kind is dict:
        return {key: value if type(value) in _FIXED else _copied(value) for key, value in data.items()}
    if kind is list:
        return [value if type(value) in _FIXED else _copied(value) for value in data]
    return deepcopy(data)


#: What nobody can change.
_FIXED = frozenset({str, int, float, bool, type(None)})


def _refuse_unknown(chain: list[UpcastStep], known: set[int]) -> None:
    for step in chain:
        for version in (step.from_version, step.to_version):
            if version not in known:
                key = step.type, step.from_version, step.to_version
                raise UpcasterConflict(*key, f"version {version} has no schema")


def _refuse_gap(chain: list[UpcastStep]) -> None:
    for one, two in pairwise(chain):
        low, high = sorted((one.from_version, one.to_version)), sorted((two.from_version, two.to_version))
        if low[1] != high[0]:
            key = two.type, two.from_version, two.to_version
            raise UpcasterConflict(*key, f"a gap: there is no step between {low[1]} and {high[0]}")


def _name(convert: Convert) -> str:
    return getattr(convert, "__qualname__", None) or type(convert).__name__
