"""How values look on the wire beyond their JSON type: dates, decimals in strings, numbers that count seconds.

The names of JSON Schema's own formats are used where marshmallow's output fits them. Where it does not (a DateTime may
be naive, a Time has no offset) the form has a name of our own, carried in ``x-eventbus-format`` beside a pattern that
every tool can read.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from marshmallow import ValidationError, fields

#: Keyword under which a form of our own is named.
FORMAT = "x-eventbus-format"

_TIME = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?"
_OFFSET = r"[+-][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{6})?)?"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way to write values in a string or a number."""

    #: What a reader of this form understands without loss.
    reads: frozenset[str]
    #: Pattern every text of this form matches, for tools that do not know the form; None for numbers and real formats.
    pattern: str | None = None
    #: Fewest characters of a text.
    shortest: int = 0
    #: Most characters of a text, None for no limit.
    longest: int | None = None
    #: Texts of this form, used to look for a counterexample.
    samples: tuple[str, ...] = field(default=())


def _reads(*names: str) -> frozenset[str]:
    return frozenset(names)


FORMS: dict[str, Form] = {
    "date": Form(reads=_reads("date"), shortest=10, longest=10, samples=("2024-02-29",)),
    "date-time": Form(
        reads=_reads("date-time"),
        shortest=20,
        longest=42,
        samples=("2024-02-29T10:20:30+02:00", "2024-02-29T10:20:30.123456+00:00"),
    ),
    "naive-datetime": Form(
        reads=_reads("naive-datetime", "date"),
        pattern=f"^{_DATE}T{_TIME}$",
        shortest=19,
        longest=26,
        samples=("2024-02-29T10:20:30", "2024-02-29T10:20:30.123456"),
    ),
    "datetime": Form(
        reads=_reads("datetime", "naive-datetime", "date-time", "date"),
        pattern=f"^{_DATE}T{_TIME}({_OFFSET})?$",
        shortest=19,
        longest=42,
        samples=("2024-02-29T10:20:30", "2024-02-29T10:20:30+02:00", "2024-02-29T10:20:30.123456+00:00"),
    ),
    "time": Form(
        reads=_reads("time"),
        pattern=f"^{_TIME}({_OFFSET})?$",
        shortest=8,
        longest=31,
        samples=("10:20:30", "10:20:30.123456+02:00"),
    ),
    "rfc822": Form(
        reads=_reads("rfc822"),
        pattern="^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} [+-][0-9]{4}$",
        shortest=31,
        longest=31,
        samples=("Thu, 29 Feb 2024 10:20:30 -0000",),
    ),
    "uuid": Form(reads=_reads("uuid"), shortest=36, longest=36, samples=("6f1f2a3e-7a51-4d0b-9a51-7d6c1e3e8f10",)),
    "email": Form(reads=_reads("email"), shortest=3, samples=("a@b.co", "someone.else@example.org")),
    "uri": Form(reads=_reads("uri"), shortest=5, samples=("http://x.io/", "https://example.org/a?b=c")),
    "ipv4": Form(reads=_reads("ipv4"), shortest=7, longest=15, samples=("1.2.3.4", "192.168.100.200")),
    "ipv6": Form(reads=_reads("ipv6"), shortest=2, samples=("::1", "2001:db8::1")),
    "ipv4-interface": Form(
        reads=_reads("ipv4-interface"),
        pattern="^[0-9.]+/[0-9]+$",
        shortest=9,
        longest=18,
        samples=("1.2.3.4/32", "10.0.0.1/8"),
    ),
    "ipv6-interface": Form(
        reads=_reads("ipv6-interface"), pattern="^[0-9a-f:.]+/[0-9]+$", shortest=4, samples=("::1/128",)
    ),
    "integer": Form(
        reads=_reads("integer"), pattern="^-?[0-9]+$", shortest=1, samples=("0", "12", "-3", "9007199254740993")
    ),
    "decimal": Form(
        reads=_reads("decimal", "integer", "float"),
        pattern=r"^-?[0-9]+(\.[0-9]+)?$",
        shortest=1,
        samples=("0", "12.34", "-3", "0.000000001", "1" + "0" * 30),
    ),
    "float": Form(
        reads=_reads("float"),
        pattern=r"^-?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?$",
        shortest=1,
        samples=("1.5", "-0.25", "1e+22", "0.0"),
    ),
}


def form_reads(reader: str, writer: str | None) -> bool:
    """Whether a reader of form *reader* understands every text of *writer*; forms nobody knows read only themselves."""
    if writer is None:
        return False
    return writer in FORMS[reader].reads if reader in FORMS else reader == writer


def own_pattern(form: str | None) -> str | None:
    """The pattern that goes with a form and says nothing beyond it."""
    return FORMS[form].pattern if form in FORMS else None


def text_form(name: str) -> dict[str, Any]:
    """The keywords for a form of text: JSON Schema's own format, or ours with a pattern beside it."""
    pattern = own_pattern(name)
    if name in FORMS and pattern is None:
        return {"format": name}
    return {FORMAT: name, **({"pattern": pattern} if pattern else {})}


#: What decides whether a text has a form: the field that reads it. Forms that are not here are not known to have texts.
_FIELDS: dict[str, type[fields.Field]] = {  # type: ignore[type-arg]
    "date": fields.Date,
    "date-time": fields.AwareDateTime,
    "naive-datetime": fields.NaiveDateTime,
    "datetime": fields.DateTime,
    "time": fields.Time,
    "uuid": fields.UUID,
    "email": fields.Email,
    "uri": fields.Url,
    "ipv4": fields.IPv4,
    "ipv6": fields.IPv6,
    "ipv4-interface": fields.IPv4Interface,
    "ipv6-interface": fields.IPv6Interface,
    "integer": fields.Integer,
    "decimal": fields.Decimal,
    "float": fields.Float,
}

#: The forms of which it can be told whether a text has them.
KNOWN_FORMS = frozenset(_FIELDS)


def is_text_of(form: str, text: str) -> bool:
    """Whether a reader of *form* reads *text*; False where nobody knows."""
    if form not in _FIELDS:
        return False
    try:
        _reader(form).deserialize(text)
    except ValidationError:
        return False
    return True


@cache
def _reader(form: str) -> fields.Field[Any]:
    """Kept: making a field takes ten times as long as reading with it."""
    return _FIELDS[form]()
