"""Times: what a person or a program gives as a point in time, without a guess.

    datetime with offset, "2026-05-01T12:00:00+02:00" ─▶ datetime, in UTC
    "2h ago", "30m", "1d"                             ─▶ timedelta before now, by the database's clock

A time without an offset is refused: whose noon it is would depend on the host.
"""

import re
from datetime import UTC, datetime, timedelta

from eventbus.errors import InvalidTime

#: A point in time, or how long it was before the database's now.
Moment = datetime | timedelta

_AGO = re.compile(r"([0-9]{1,6}) ?([smhdw])(?: ago)?")
_LONGEST_AGO = timedelta(days=36_525)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_moment(name: str, value: object) -> Moment:
    """What *value*, given as the argument *name*, means.

    Args:
        value: A datetime with an offset, or a text: ISO 8601 with an offset, or a whole number of ``s``, ``m`` (minutes),
            ``h``, ``d`` or ``w``, with or without ``ago``.

    Raises:
        InvalidTime: It has no offset, or is not a time.
    """
    if isinstance(value, datetime):
        return _in_utc(name, value, value)
    if not isinstance(value, str):
        raise InvalidTime(name, value, "is not a time")
    text = value.strip()
    if ago := _AGO.fullmatch(text):
        before = timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        if before > _LONGEST_AGO:
            raise InvalidTime(name, value, "lies more than a century back")
        return before
    try:
        parsed = datetime.fromisoformat(text if text.isascii() else "")
    except ValueError:
        raise InvalidTime(name, value, "is not a time") from None
    return _in_utc(name, value, parsed)


def _in_utc(name: str, value: object, parsed: datetime) -> datetime:
    if parsed.utcoffset() is None:
        raise InvalidTime(name, value, "has no offset from UTC")
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise InvalidTime(name, value, "lies outside the years 1 to 9999") from None
