"""Wording: values as messages and findings show them, readable whatever they are."""

from datetime import datetime, timedelta

#: In seconds, each with the next smaller one behind it.
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def readable(path: str) -> str:
    """*path* for a message: keys may be of any length and hold any character."""
    text = path if path.isprintable() else repr(path)[1:-1]
    return text if len(text) <= 100 else f"{text[:60]}...{text[-37:]}"


def shown(value: object) -> str:
    """*value* for a message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def moment(value: datetime | None) -> str:
    """A time in UTC, to the second."""
    return "-" if value is None else f"{value:%Y-%m-%d %H:%M:%S} UTC"


def span(value: timedelta | float | None) -> str:
    """How long something takes or took; seconds if it is a number."""
    if value is None:
        return "-"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds > 0 else "0 s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    largest = next(number for number, (size, _) in enumerate(_UNITS) if whole >= size)
    (size, unit), (smaller_size, smaller) = _UNITS[largest : largest + 2]
    rest = whole % size // smaller_size
    return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
