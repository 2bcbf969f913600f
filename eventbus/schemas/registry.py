"""The registry: the marshmallow schema of each (type, version) that this process's code declares.

`canonical` is the gate of publish(): data is loaded, so that every field is checked, then dumped, so that what is stored is
the one form that all equal inputs share.
"""

import threading
from collections.abc import Iterator
from typing import Any

from marshmallow import Schema, ValidationError

from eventbus.errors import InvalidEvent, InvalidSchema, UnknownEventType, UnknownEventVersion
from eventbus.event import check_type, encode_data
from eventbus.wire import decode

Name = tuple[str, int]


class SchemaRegistry:
    """Schemas by type and version."""

    def __init__(self) -> None:
        self._classes: dict[Name, type[Schema]] = {}
        self._instances = threading.local()

    def register(self, type: str, version: int, schema: type[Schema]) -> None:
        """Declare *schema* as the form of *type* in *version*; declaring the same class again changes nothing.

        Raises:
            InvalidEventType: The type is malformed.
            InvalidSchema: The version or the class cannot be used, or another class is registered for them.
        """
        check_type(type)
        if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version < 1 << 31:
            raise InvalidSchema(f"version={version!r} of {type} must be a whole number from 1.")
        if not _is_schema(schema):
            raise InvalidSchema(f"{schema!r} for {type} version {version} is not a marshmallow Schema class.")
        known = self._classes.setdefault((type, version), schema)
        if _origin(known) != _origin(schema):
            raise InvalidSchema(
                f"{type} version {version} is declared by {_origin(known)} and by {_origin(schema)}: "
                "give the new form a version of its own."
            )
        self._classes[type, version] = schema

    def __iter__(self) -> Iterator[Name]:
        return iter(sorted(self._classes))

    def versions(self, type: str) -> list[int]:
        """The versions of *type*, oldest first; empty without one."""
        return sorted(version for name, version in self._classes if name == type)

    def resolve(self, type: str, version: int | None, *, strict: bool) -> int:
        """The version that an event of *type* is published in: the one given, else the only one, else 1 without a schema.

        Raises:
            UnknownEventVersion: That version has no schema but others have, or several have and none was given.
            UnknownEventType: There is no schema at all, and *strict* asks for one.
        """
        known = self.versions(type)
        if not known:
            if strict:
                raise UnknownEventType(type)
            return version or 1
        if version is None and len(known) == 1:
            return known[0]
        if version not in known:
            raise UnknownEventVersion(type, version, known)
        return version

    def canonical(self, type: str, version: int, data: Any) -> bytes:
        """The wire form of *data*: validated and normalised if the type has a schema, else as it is.

        Raises:
            InvalidEvent: With every field that does not fit, or every part that is not JSON.
        """
        if (type, version) not in self._classes:
            return encode_data(type, data)
        # Before load, which would accept what JSON cannot carry or fail on it in its own way.
        wire = decode(encode_data(type, data))
        schema = self._instance(type, version)
        try:
            return encode_data(type, schema.dump(schema.load(wire)))
        except ValidationError as error:
            raise InvalidEvent(type, _by_path(error.messages)) from None
        except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
            # A schema whose dump cannot digest what its own load accepted, or a hook of it that fails.
            raise InvalidEvent(type, {"data": [f"{_origin(schema.__class__)} failed on it: {error}."]}) from error

    def _instance(self, type: str, version: int) -> Schema:
        """A schema object of this thread: marshmallow's are not safe to share, and costly to make."""
        cache: dict[Any, Schema] = self._instances.__dict__
        wanted = self._classes[type, version]
        found = cache.get((type, version))
        if found.__class__ is not wanted:
            found = cache[type, version] = wanted()
        assert found is not None
        return found


def _is_schema(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Schema)


def _origin(schema: type) -> str:
    return f"{schema.__module__}.{schema.__qualname__}"


def _by_path(messages: Any, path: str = "") -> dict[str, list[str]]:
    """marshmallow's nested messages by the path of each field: ``{"lines[2].sku": ["Not a valid string."]}``."""
    if isinstance(messages, dict):
        found: dict[str, list[str]] = {}
        for key, inner in messages.items():
            if key == "_schema":
                step = path
            elif isinstance(key, int):
                step = f"{path}[{key}]"
            else:
                step = f"{path}.{key}" if path else str(key)
            for where, listed in _by_path(inner, step).items():
                found.setdefault(where, []).extend(listed)
        return found
    listed = messages if isinstance(messages, list) else [messages]
    return {path or "data": [str(message) for message in listed]}
