"""The tolerant reader: what a schema does not know is taken out of the data before it loads.

marshmallow's ``unknown=EXCLUDE`` does not reach nested schemas, so the *data* is walked, as deep as it goes, beside the
fields. Walking the schemas instead would never end on a recursive one. On the way, 1.0 becomes 1 where an integer is
read: JavaScript has one kind of number.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from marshmallow import RAISE, Schema, ValidationError, fields

from eventbus.schemas.failures import UNFIT, refusing
from eventbus.schemas.refusal import DataRefused


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """Data without what the schema does not know."""

    data: Any
    #: What was taken out, by wire path without positions (``lines[].note``, ``prices.*.note``); sorted, each once.
    paths: tuple[str, ...] = ()
    #: The same with positions and keys (``lines[2].note``), in the order of the data.
    exact: tuple[str, ...] = ()


def read(schema: Schema, data: Any) -> Any:
    """What *schema* loads from an event's data, unknown keys left out.

    Raises:
        DataRefused: The data does not load.
    """
    pruned = prune(schema, data).data
    with refusing(schema):
        return schema.load(pruned, unknown=RAISE)


def prune(schema: Schema, data: Any) -> Pruned:
    """*data* without the keys that *schema* does not load, at any depth; *data* itself is not changed."""
    found: list[_Place] = []
    if schema.many and isinstance(data, list):
        kept: Any = [_object(schema, each, _Place().item(index), found) for index, each in enumerate(data)]
    else:
        kept = _object(schema, data, _Place(), found)
    exact = tuple(dict.fromkeys(each.exact for each in found))
    return Pruned(data=kept, exact=exact, paths=tuple(sorted({each.general for each in found})))


def prune_value(field: fields.Field[Any], value: Any) -> Any:
    """*value* of one field, the same way."""
    return _value(field, value, _Place(), [])


class _Place(NamedTuple):
    """Where we are in the data: with positions and keys, and without."""

    exact: str = ""
    general: str = ""

    def key(self, name: str) -> "_Place":
        return _Place(*(f"{path}.{name}" if path else name for path in self))

    def entry(self, name: str) -> "_Place":
        return _Place(f"{self.exact}.{name}", f"{self.general}.*")

    def item(self, index: int) -> "_Place":
        return _Place(f"{self.exact}[{index}]", f"{self.general}[]")


def _object(schema: Schema, data: Any, place: _Place, pruned: list[_Place]) -> Any:
    if not isinstance(data, Mapping):
        return data
    known = {each.data_key if each.data_key is not None else name: each for name, each in schema.load_fields.items()}
    kept = {}
    for key, value in data.items():
        if key not in known:
            pruned.append(place.key(str(key)))
        elif type(value) in _WHOLE:
            kept[key] = value
        else:
            kept[key] = _value(known[key], value, place.key(str(key)), pruned)
    return kept


#: Of these nothing is ever taken out, and nothing becomes something else.
_WHOLE = frozenset({str, int, bool, type(None)})


def _value(field: fields.Field[Any], value: Any, place: _Place, pruned: list[_Place]) -> Any:
    if isinstance(value, float):
        return int(value) if isinstance(field, fields.Integer) and value.is_integer() else value
    if isinstance(field, fields.Nested):
        return _nested(field, value, place, pruned)
    if isinstance(value, list):
        return _items(field, value, place, pruned)
    if isinstance(field, fields.Mapping) and isinstance(value, Mapping) and len(value) > 1 and field.key_field:
        _refuse_merging(field.key_field, value, place)
    if isinstance(field, fields.Mapping) and isinstance(value, Mapping) and field.value_field:
        return {key: _value(field.value_field, each, place.entry(str(key)), pruned) for key, each in value.items()}
    return value


def _refuse_merging(keys: fields.Field[Any], value: Mapping[Any, Any], place: _Place) -> None:
    """Make sure that each key becomes another one: of two spellings of one key marshmallow keeps the last, without a word.

    Raises:
        DataRefused: Two become one.
    """
    if type(keys) is fields.String and not (keys.pre_load or keys.post_load):
        return
    known: dict[Any, Any] = {}
    merged: list[str] = []
    for key in value:
        with suppress(ValidationError, *UNFIT):  # which are told when it is loaded
            other = known.setdefault(keys.deserialize(key), key)
            if other is not key:
                merged.append(f"{other!r:.60} and {key!r:.60} are one key.")
    if merged:
        raise DataRefused({place.exact: merged})


def _nested(field: fields.Nested, value: Any, place: _Place, pruned: list[_Place]) -> Any:
    if isinstance(field, fields.Pluck):
        inner = field.schema.fields[field.field_name]

        def one(each: Any, where: _Place) -> Any:
            return _value(inner, each, where, pruned)
    else:

        def one(each: Any, where: _Place) -> Any:
            return _object(field.schema, each, where, pruned)

    if isinstance(value, list) and (field.many or field.schema.many):
        return [one(each, place.item(index)) for index, each in enumerate(value)]
    return one(value, place)


def _items(field: fields.Field[Any], value: list[Any], place: _Place, pruned: list[_Place]) -> list[Any]:
    if isinstance(field, fields.List):
        return [_value(field.inner, each, place.item(index), pruned) for index, each in enumerate(value)]
    if isinstance(field, fields.Tuple) and len(value) == len(field.tuple_fields):
        pairs = zip(field.tuple_fields, value, strict=True)
        return [_value(inner, each, place.item(index), pruned) for index, (inner, each) in enumerate(pairs)]
    return value
