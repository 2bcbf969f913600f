"""From marshmallow's fields for moments, days and spans to JSON Schema: texts of some form, or numbers of some unit."""

import datetime
from typing import Any

from marshmallow import fields

from eventbus.errors import InvalidSchema
from eventbus.schemas.lexical import FORMAT, text_form

_Json = dict[str, Any]


def date_time(field: fields.DateTime, path: str) -> _Json:
    """A moment: text, or a number of seconds or milliseconds."""
    names: dict[Any, str] = {fields.NaiveDateTime: "naive-datetime", fields.AwareDateTime: "date-time"}
    own = next((name for kind, name in names.items() if isinstance(field, kind)), "datetime")
    format = field.format or field.DEFAULT_FORMAT
    if format in {"timestamp", "timestamp_ms"}:
        if isinstance(field, fields.AwareDateTime) and not _is_utc(field.default_timezone):
            raise InvalidSchema(
                path, "a timestamp counts from UTC: AwareDateTime needs default_timezone=datetime.UTC to read it."
            )
        most = 253402300799 * (1000 if format == "timestamp_ms" else 1)
        return {"type": "number", "minimum": 0, "maximum": most, FORMAT: format}
    if format in {"rfc", "rfc822"}:
        return {"type": "string", **text_form("rfc822" if own == "datetime" else f"rfc822:{own}")}
    if format in {"iso", "iso8601"}:
        return {"type": "string", **text_form(own)}
    zone = ""
    if isinstance(field, fields.AwareDateTime) and "%z" not in format:
        if field.default_timezone is None:
            raise InvalidSchema(
                path, "what it writes has no offset: AwareDateTime needs %z in its format, or default_timezone."
            )
        zone = f"@{field.default_timezone}"
    return {"type": "string", **text_form(f"{own}:{format}{zone}")}


def date_or_time(field: Any) -> _Json:
    """A day, or a time of day."""
    own = "date" if isinstance(field, fields.Date) else "time"
    format = field.format or field.DEFAULT_FORMAT
    return {"type": "string", **text_form(own if format in {"iso", "iso8601"} else f"{own}:{format}")}


def time_delta(field: fields.TimeDelta) -> _Json:
    """A number of some unit; another unit is another form."""
    unit = datetime.timedelta(**{field.precision: 1})
    least, most = int(datetime.timedelta.min / unit), int(datetime.timedelta.max / unit)
    return {"type": "number", "minimum": least, "maximum": most, FORMAT: f"duration-{field.precision}"}


def _is_utc(zone: datetime.tzinfo | None) -> bool:
    """Whether *zone* never is off UTC."""
    moments = [datetime.datetime(2000, month, 1) for month in (1, 7)]  # noqa: DTZ001 - a zone is asked about naive ones
    return zone is not None and not any(zone.utcoffset(moment) for moment in moments)
