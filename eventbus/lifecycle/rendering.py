"""Rendering: one event in every version of its type that anybody knows, as a handler that asks for that version gets it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eventbus.errors import InvalidUpcast, UnreachableVersion
from eventbus.event import Event
from eventbus.lifecycle.catalog import Catalog


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """An event's data in one version."""

    version: int
    #: It is the version that was published.
    is_stored: bool
    #: None where no way leads to the version.
    data: Any = None
    #: Wire paths whose values did not survive the way.
    lossy: tuple[str, ...] = ()
    #: Why there is no data.
    reason: str | None = None


def render(catalog: Catalog, event: Event) -> list[Rendering]:
    """*event* in its own version and in each of its type that this code or the registry knows, by version."""
    return list(_renderings(catalog, event))


def _renderings(catalog: Catalog, event: Event) -> Iterator[Rendering]:
    for version in sorted({event.version, *catalog.versions(event.type)}):
        if version == event.version:
            yield Rendering(version=version, is_stored=True, data=event.data)
        else:
            yield _converted(catalog, event, version)


def _converted(catalog: Catalog, event: Event, version: int) -> Rendering:
    try:
        found = catalog.convert(event.type, event.version, version, event.data)
    except InvalidUpcast as error:
        return Rendering(version=version, is_stored=False, reason=str(error))
    if isinstance(found, UnreachableVersion):
        return Rendering(version=version, is_stored=False, reason=str(found))
    return Rendering(version=version, is_stored=False, data=found.data, lossy=found.lossy)
