"""The canonical form of an event's data: JSON of ``dump(load(data))``, the only form that is ever stored.

    data ─▶ fast path (compiled, accepts only what is plainly right) ─▶ canonical form
              └─ anything unusual ─▶ marshmallow: load, dump, or every field's error

The two paths agree: whatever the fast path accepts, marshmallow loads and dumps to the same JSON.
"""

from copy import deepcopy
from typing import Any

from marshmallow import RAISE, Schema, ValidationError

from eventbus.schemas.compiled import compile_schema
from eventbus.schemas.compiled_scalars import Unusual
from eventbus.schemas.failures import errors_by_path, refusing
from eventbus.schemas.json_values import to_json
from eventbus.schemas.reading import prune, read
from eventbus.schemas.refusal import DataRefused


class CanonicalForm:
    """Brings data into the canonical form of one schema. Safe to share between threads: nothing changes after init."""

    def __init__(self, schema: Schema | type[Schema], *, has_code: bool = False) -> None:
        """Make ready for *schema*; where it *has_code* of its own, what that writes is read again."""
        self.schema = schema() if isinstance(schema, type) else schema
        self._fast = compile_schema(self.schema)
        self._has_code = has_code

    def __call__(self, data: Any) -> Any:
        """The canonical form of *data*, which is not changed.

        Raises:
            DataRefused: It does not fit the schema; every field's messages by wire path.
        """
        try:
            return self.of_plain(data)
        except Unusual:
            return self.by_marshmallow(data)

    def by_marshmallow(self, data: Any) -> Any:
        """The same, without the fast path."""
        written = canonical(self.schema, data)
        if self._has_code:
            _refuse_unreadable(self.schema, written)
        return written

    def of_plain(self, data: Any) -> Any:
        """The canonical form of *data* that is plainly right, without marshmallow.

        Raises:
            Unusual: It is not, or the schema is none that can be compiled.
        """
        if self._fast is None:
            raise Unusual
        return self._fast(data)


def canonical(schema: Schema, data: Any) -> Any:
    """The canonical form by way of marshmallow alone.

    Raises:
        DataRefused: See :class:`CanonicalForm`.
    """
    with refusing(schema):
        pruned = prune(schema, data)
        unknown = {path: ["Unknown field."] for path in pruned.exact}
        try:
            loaded = schema.load(pruned.data, unknown=RAISE)
        except ValidationError as error:
            raise DataRefused({**errors_by_path(schema, error.messages), **unknown}) from error
        if unknown:
            raise DataRefused(unknown)
        return to_json(schema.dump(loaded))


def _refuse_unreadable(schema: Schema, written: Any) -> None:
    """Make sure that consumers can read what a hook or a field of somebody's own has made of the data.

    Raises:
        DataRefused: They could not.
    """
    try:
        read(schema, deepcopy(written))
    except DataRefused as error:
        told = {
            path: [f"Could not be read again as it is written: {each}" for each in said]
            for path, said in error.errors.items()
        }
        raise DataRefused(told) from error
