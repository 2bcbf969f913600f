"""What really happens: marshmallow publishes with one schema and loads with another. The judge of every property."""

import datetime
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema

from eventbus.schemas.canonical import canonical
from eventbus.schemas.json_values import to_json
from eventbus.schemas.reading import read
from eventbus.schemas.refusal import DataRefused


def publish(writer: Schema, payload: Any) -> Any:
    """The wire form, or DataRefused."""
    return canonical(writer, payload)


def happens(reader: Schema, wire: Any) -> str:
    """'loads', 'loses' or 'breaks' when *reader* gets what is on the wire."""
    try:
        loaded = read(reader, wire)
        back = to_json(reader.dump(loaded))
    except DataRefused:
        return "breaks"
    return "loads" if keeps(wire, back) else "loses"


def keeps(sent: Any, got: Any) -> bool:
    """Whether no value that both sides know has changed; 1 and 1.0 are one value, so are two spellings of one."""
    if isinstance(sent, bool) or isinstance(got, bool):
        return sent is got
    if isinstance(sent, Mapping) and isinstance(got, Mapping):
        return all(keeps(sent[key], got[key]) for key in sent.keys() & got.keys())
    if isinstance(sent, list) and isinstance(got, list):
        return len(sent) == len(got) and all(map(keeps, sent, got))
    return bool(sent == got) or _number(sent) == _number(got) is not None or _moment(sent) == _moment(got) is not None


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _moment(value: Any) -> tuple[datetime.datetime, bool] | None:
    try:
        moment = datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment.replace(tzinfo=None) - (moment.utcoffset() or datetime.timedelta()), moment.tzinfo is None
