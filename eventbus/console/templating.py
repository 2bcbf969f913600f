"""Templating: the environment of all templates: what is put into them is escaped, and a name that is missing is an error."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from eventbus.wording import moment, span

_SIZES = ("kB", "MB", "GB", "TB")
_LONGEST_JSON = 200_000


def make_templates() -> Environment:
    """The templates, with the filters that they use."""
    made = Environment(
        loader=PackageLoader("eventbus.console"),
        autoescape=True,
        undefined=StrictUndefined,
        # They change with the program alone; looking for changes costs a page of many rows two hundred looks at the disk.
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "brief": brief,
        "number": number,
        "percent": percent,
        "points": points,
        "pretty": pretty,
        "size": size,
        "span": span,
        "time": time,
        "tojson_text": json.dumps,
    }
    return made


def time(value: datetime | None, empty: str = "never") -> str:
    """A point in time, in UTC; the reader's browser shows it in the reader's zone, with UTC on hover."""
    if value is None:
        return escape(empty)
    utc = value.astimezone(UTC)
    shown = moment(utc)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(utc.isoformat(), shown, shown)


def number(value: float | None) -> str:
    """A number with its thousands apart."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:,.2f}".rstrip("0").rstrip(".")


def percent(value: float | None) -> str:
    """A part of one."""
    if value is None:
        return "-"
    return f"{value:.0%}" if value == 0 or value >= 0.1 else f"{value:.1%}"


def size(value: int | None) -> str:
    """So many bytes."""
    if value is None:
        return "-"
    shown, unit = float(value), "B"
    for larger in _SIZES:
        if shown < 1000:
            break
        shown, unit = shown / 1000, larger
    return f"{shown:.0f} {unit}" if shown >= 100 or unit == "B" else f"{shown:.1f} {unit}"


def pretty(value: Any) -> str:
    """JSON values to read; what is very long ends early and says so."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False)
    except RecursionError:
        # Without line ends it is written by C, which goes deeper.
        text = json.dumps(value, ensure_ascii=False)
    if len(text) <= _LONGEST_JSON:
        return text
    return f"{text[:_LONGEST_JSON]}\n… {len(text) - _LONGEST_JSON:,} more characters"


def brief(value: Any, longest: int = 160) -> str:
    """JSON values on one line; what is long ends early."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def points(values: Sequence[float], width: int = 120, height: int = 24) -> str:
    """The points of a line through *values* in a picture of that size, for a sparkline."""
    if len(values) < 2:
        return ""
    most = max(values) or 1
    step = width / (len(values) - 1)
    return " ".join(
        f"{i * step:.1f},{height - 1 - (value / most) * (height - 2):.1f}" for i, value in enumerate(values)
    )
