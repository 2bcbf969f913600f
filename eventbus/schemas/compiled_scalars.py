"""Scalars on the fast path: a value that is plainly right as it is written, or Unusual."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import fields

#: What the type Decimal writes as it reads it.
_PLAIN_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
Convert = Callable[[Any], Any]


class Unusual(Exception):
    """The data is wrong, or right in a way that marshmallow should see."""


class Unsupported(Exception):
    """Something in the schema is more than the fast path knows."""


def text(value: Any) -> Any:
    if type(value) is not str or "\x00" in value:
        raise Unusual
    if not value.isascii():
        value.encode()  # refuses lone surrogates
    return value


def integer(each: fields.Integer) -> Convert:
    if each.as_string:
        raise Unsupported
    return _whole


def _whole(value: Any) -> Any:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    raise Unusual


def float_(each: fields.Float) -> Convert:
    if each.as_string or each.allow_nan:
        raise Unsupported
    return _finite


def _finite(value: Any) -> Any:
    if type(value) is int:
        value = float(value)
    if type(value) is not float or value - value != 0:
        raise Unusual
    return value


def decimal(otherwise: Convert) -> Convert:
    """For a decimal that is written as text, unrounded: plain digits stay as they are, *otherwise* sees to the rest."""

    def convert(value: Any) -> Any:
        if type(value) is str and _PLAIN_DECIMAL.fullmatch(value):
            return value
        return otherwise(value)

    return convert


def boolean(value: Any) -> Any:
    if value is True or value is False:
        return value
    raise Unusual


#: Of some of these, in Python: that ``value`` is so plainly right that it stays as it is.
PLAIN: Mapping[Convert, str] = {
    text: "type(value) is str and value.isascii() and '\\x00' not in value",
    _whole: "type(value) is int",
    _finite: "type(value) is float and value - value == 0",
    boolean: "value is True or value is False",
}
