"""From marshmallow validators to JSON Schema keywords; what has no keyword is named as opaque.

A validator sees the loaded value and JSON Schema the written one, so each is translated only for fields where two
loaded values are equal exactly when they are written alike.
"""

import enum
import math
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields, validate

from eventbus.schemas.lexical import FORMAT
from eventbus.schemas.opaque import describe
from eventbus.schemas.patterns import is_portable

_Json = dict[str, Any]

#: Fields whose loaded values are equal exactly when they are written alike.
_COMPARABLE = (fields.String, fields.Integer, fields.Float, fields.Boolean, fields.UUID, fields.Date, fields.Enum)

OPAQUE = "x-eventbus-opaque"
_MOST_DIGITS = 10_000


def apply_validators(schema: _Json, field: fields.Field[Any]) -> _Json:
    """*schema* narrowed by the validators of *field*."""
    for validator in _flatten(field.validators):
        keywords = _keywords(validator, field)
        schema = add_opaque(schema, describe("validator", validator)) if keywords is None else narrow(schema, keywords)
    return schema


def add_opaque(schema: _Json, entry: dict[str, str]) -> _Json:
    """*schema* with one more part that JSON Schema cannot express."""
    entries = [*schema.get(OPAQUE, []), entry]
    return {
        **narrow(schema, {}),
        OPAQUE: sorted(entries, key=lambda each: (each["what"], each["name"], each["identity"])),
    }


def narrow(schema: _Json, keywords: _Json) -> _Json:
    """Both *schema* and *keywords*: merged where they do not meet, else by allOf."""
    if "$ref" in schema:
        schema = {"allOf": [schema]}
    if not set(schema) & set(keywords):
        return {**schema, **keywords}
    return {**schema, "allOf": [*schema.get("allOf", []), keywords]}


def within_digits(value: Any) -> None:
    """Refuse a decimal that takes very many digits to write: a few characters of text, such as 1e999999999, may ask for any number.

    Raises:
        ValidationError: It does.
    """
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) > _MOST_DIGITS:
        raise ValidationError(f"Has more than {_MOST_DIGITS:,} digits.")


class EndsExactly:
    """What a Regexp says where ``$`` is the end: in Python it also matches before a final line feed, and in no other dialect."""

    def __init__(self, pattern: str) -> None:
        self._loose = re.compile(pattern)
        self._exact = re.compile(_END.sub(lambda found: found[1] or r"\Z", pattern))

    def __call__(self, value: str) -> None:
        """Refuse *value* where only its final line feed is too much.

        Raises:
            ValidationError: It has one.
        """
        if value.endswith("\n") and self._loose.match(value) and not self._exact.match(value):
            raise ValidationError("A line feed follows what the pattern takes.")


#: A dollar sign, and what it may stand in without being one: an escape, or a set of characters.
_END = re.compile(r"(\\.|\[\^?(?:\\.|[^\]\\])*\])|\$", re.DOTALL)


def with_exact_ends(field: fields.Field[Any]) -> list[Any]:
    """The validators of *field*, and for each pattern that becomes one of JSON Schema what it leaves open; each once."""
    known = [each for each in field.validators if not isinstance(each, EndsExactly)]
    patterns = [
        str(each.regex.pattern) for each in _flatten(known) if type(each) is validate.Regexp and _regexp(each, field)
    ]
    return [*known, *(EndsExactly(pattern) for pattern in patterns if "$" in pattern)]


def _flatten(validators: Iterable[Any]) -> Iterable[Any]:
    for validator in validators:
        if type(validator) is validate.And:
            yield from _flatten(validator.validators)
        elif validator is not within_digits and not isinstance(validator, EndsExactly):
            yield validator


def _keywords(validator: Any, field: fields.Field[Any]) -> _Json | None:
    """The keywords that say what *validator* says, None if there are none."""
    translate = _TRANSLATIONS.get(type(validator))
    return translate(validator, field) if translate else None


def _range(validator: Any, field: fields.Field[Any]) -> _Json | None:
    if not isinstance(field, (fields.Integer, fields.Float, fields.Decimal, fields.TimeDelta)):
        return None
    prefix = "x-eventbus-" if getattr(field, "as_string", False) else ""
    result: _Json = {}
    for bound, inclusive, names in (
        (validator.min, validator.min_inclusive, ("minimum", "exclusiveMinimum")),
        (validator.max, validator.max_inclusive, ("maximum", "exclusiveMaximum")),
    ):
        if bound is None or bound == (-math.inf if names[0] == "minimum" else math.inf):
            continue
        number = field._serialize(bound, None, None) if isinstance(field, fields.TimeDelta) else bound
        if isinstance(number, bool) or not isinstance(number, (int, float, Decimal)) or not math.isfinite(number):
            return None
        name = names[0] if inclusive else names[1]
        result[prefix + name] = _json_number(number)
    return result


def _json_number(number: float | Decimal) -> int | float:
    if isinstance(number, Decimal):
        return int(number) if number == number.to_integral_value() else float(number)
    return number


def _length(validator: Any, field: fields.Field[Any]) -> _Json | None:
    if isinstance(field, fields.String):
        least, most = "minLength", "maxLength"
    elif isinstance(field, (fields.List, fields.Tuple)) or (isinstance(field, fields.Nested) and _is_many(field)):
        least, most = "minItems", "maxItems"
    elif isinstance(field, fields.Mapping):
        least, most = "minProperties", "maxProperties"
    else:
        return None
    low, high = (validator.equal,) * 2 if validator.equal is not None else (validator.min, validator.max)
    return {name: bound for name, bound in ((least, low), (most, high)) if bound is not None}


def _is_many(field: fields.Nested) -> bool:
    return bool(field.schema.many or field.many)


def _one_of(validator: Any, field: fields.Field[Any]) -> _Json | None:
    written = _written(validator.choices, field)
    return None if written is None else {"enum": written}


def _equal(validator: Any, field: fields.Field[Any]) -> _Json | None:
    written = _written([validator.comparable], field)
    return None if written is None else {"const": written[0]} if len(written) == 1 else {"enum": written}


def _none_of(validator: Any, field: fields.Field[Any]) -> _Json | None:
    written = _written(validator.iterable, field)
    return None if written is None else {"not": {"enum": written}}


def _contains_only(validator: Any, field: fields.Field[Any]) -> _Json | None:
    written = _written_items(validator.choices, field)
    return None if written is None else {"allOf": [{"items": {"enum": written}}]}


def _contains_none_of(validator: Any, field: fields.Field[Any]) -> _Json | None:
    written = _written_items(validator.iterable, field)
    return None if written is None else {"allOf": [{"items": {"not": {"enum": written}}}]}


def _written_items(choices: Any, field: fields.Field[Any]) -> list[Any] | None:
    if not isinstance(field, fields.List):
        return None
    written = _written(choices, field.inner)
    return None if written is None else written + ([None] if any(each is None for each in choices) else [])


def _written(choices: Any, field: fields.Field[Any]) -> list[Any] | None:
    """How the choices that *field* can load are written, in their order; None if they cannot be compared so.

    A string is no list of choices (``in`` would find parts of it), and an iterator is used up by the first look.
    """
    if isinstance(choices, (str, bytes)) or not isinstance(choices, (list, tuple, set, frozenset, range, Mapping)):
        return None
    listed = sorted(choices, key=repr) if isinstance(choices, (set, frozenset)) else list(choices)
    if type(field) is fields.Raw:
        return _written_raw(listed)
    if not isinstance(field, _COMPARABLE):
        return None
    written: list[Any] = []
    for choice in listed:
        if choice is None or not _can_be_loaded(choice, field):
            continue
        value = field._serialize(choice, None, None)
        if not any(value == each and type(value) is type(each) for each in written):
            written.append(value)
    return written


def _can_be_loaded(choice: Any, field: fields.Field[Any]) -> bool:
    if isinstance(field, fields.String):
        return isinstance(choice, str)
    if isinstance(field, fields.Integer):
        return isinstance(choice, (int, float)) and choice == int(choice)
    if isinstance(field, fields.Float):
        return isinstance(choice, (int, float))
    if isinstance(field, fields.Boolean):
        return choice in (0, 1)
    if isinstance(field, fields.Enum):
        return isinstance(choice, field.enum) and isinstance(choice, enum.Enum)
    try:
        return bool(field.deserialize(field._serialize(choice, None, None)) == choice)
    except Exception:  # noqa: BLE001 - a choice of another kind, whatever that raises, never equals a loaded value
        return False


def _written_raw(choices: list[Any]) -> list[Any] | None:
    """Python finds True in [1]; JSON does not, so both are listed."""
    written: list[Any] = []
    for choice in choices:
        if not isinstance(choice, (str, int, float, bool)):
            return None
        twins = [bool(choice), int(choice)] if not isinstance(choice, str) and choice in (0, 1) else [choice]
        written += [each for each in twins if not any(each == one and type(each) is type(one) for one in written)]
    return written


def _regexp(validator: Any, field: fields.Field[Any]) -> _Json | None:
    """The pattern, anchored at the start only: that is what re.match does. None where its end is what must not come."""
    regex = validator.regex
    if not isinstance(field, fields.String) or not isinstance(regex.pattern, str) or regex.flags != re.UNICODE:
        return None
    negates_end = "(?!" in regex.pattern and "$" in regex.pattern
    return {"pattern": f"^(?:{regex.pattern})"} if is_portable(regex.pattern) and not negates_end else None


def _email(validator: Any, field: fields.Field[Any]) -> _Json | None:
    return {"format": "email"} if isinstance(field, fields.String) else None


def _url(validator: Any, field: fields.Field[Any]) -> _Json | None:
    if not isinstance(field, fields.String):
        return None
    own = validator.relative or not validator.require_tld or set(validator.schemes) != validate.URL.default_schemes
    if not own:
        return {"format": "uri"}
    allowed = ",".join(sorted(validator.schemes))
    return {
        FORMAT: f"url:{allowed}:relative={validator.relative}:absolute={validator.absolute}:tld={validator.require_tld}"
    }


_TRANSLATIONS: dict[type, Callable[[Any, fields.Field[Any]], _Json | None]] = {
    validate.Range: _range,
    validate.Length: _length,
    validate.OneOf: _one_of,
    validate.Equal: _equal,
    validate.NoneOf: _none_of,
    validate.ContainsOnly: _contains_only,
    validate.ContainsNoneOf: _contains_none_of,
    validate.Regexp: _regexp,
    validate.Email: _email,
    validate.URL: _url,
}
