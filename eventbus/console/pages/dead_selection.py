"""What is meant: dead letters that were chosen, or all that match a filter; frozen, so that exactly what was shown is changed.

Between question and answer nothing is kept here: the form carries the filter, the largest id, the count and each id. What is found
again may be fewer, never more and never others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from eventbus.console.filters import Filters
from eventbus.console.id_lists import read_ids, write_ids
from eventbus.console.pages.dead import TEXTS, sought_of
from eventbus.console.view import View
from eventbus.errors import InvalidInput
from eventbus.lifecycle.dead_lettering import STATUSES
from eventbus.lifecycle.resolving import Frozen
from eventbus.lifecycle.trying import MOST_TRIED

#: Of a trial in an address.
LONGEST = 10_000
#: Of all ids in a form: a million letters, unless most of what lies between them is something else.
_MOST_SHOWN = 700_000
_MOST_CHOSEN = 500
_FIRST = 5


@dataclass(frozen=True, kw_only=True)
class Back:
    """Where a form was made: the letter, the cause or the list, with its filter."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)


def freeze(view: View, form: Filters, *, last_id: int | None = None) -> Frozen:
    """What *form* means now: the letters that were chosen, or all that match its filter."""
    if form.choice("scope", ("chosen", "all")) == "all":
        if (status := form.choice("status", [*STATUSES, "all"]) or "open") != "open":
            raise InvalidInput(
                f"status={status} is shown, but only open dead letters can be changed: show these first."
            )
        return view.bus.freeze_dead_letters(**sought_of(form), last_id=last_id)
    ids = ids_of(form, "id")
    if not ids:
        raise InvalidInput("tick the dead letters to change, or choose all that match the filter.")
    return view.bus.freeze_dead_letters(ids=ids)


def freeze_again(view: View, form: Filters) -> Frozen:
    """What was counted before, without what has been resolved since.

    Raises:
        InvalidInput: It was not counted, or is more than that, or something else.
    """
    counted = form.number("count")
    if counted is None:
        raise InvalidInput("count the dead letters before you change them.")
    frozen = freeze(view, form, last_id=form.number("last_id"))
    if frozen.count > counted:
        raise InvalidInput(
            f"{frozen.count:,} dead letters match now, more than the {counted:,} that were shown; "
            "nothing was changed: check the list again."
        )
    if frozen.ids and frozen.sought.ids is None:
        _check_shown(frozen, form)
    return frozen


def fixed(frozen: Frozen) -> dict[str, object]:
    """What makes a form mean the same later on.

    Raises:
        InvalidInput: They are too many to be carried by a form.
    """
    moments = {name: getattr(frozen.sought, name) for name in ("since", "until")}
    times = {name: moment.isoformat() for name, moment in moments.items() if isinstance(moment, datetime)}
    facts: dict[str, object] = {**times, "count": frozen.count, "last_id": max(frozen.ids, default=0)}
    if frozen.sought.ids is None and frozen.ids:
        shown = write_ids(frozen.ids, longest=_MOST_SHOWN)
        if shown is None:
            raise InvalidInput(f"{frozen.count:,} dead letters are too many for one change: choose a shorter time.")
        facts["shown"] = shown
    return facts


def meaning(frozen: Frozen) -> str:
    """The sentence that says which letters are meant: how many, and by which filter."""
    sought = {name: value for name, value in frozen.sought.as_json().items() if name in TEXTS}
    which = [f"{name.replace('_', ' ')} {value}" for name, value in sought.items()]
    if frozen.sought.ids is not None:
        which = [f"id {frozen.sought.ids[0]}" if len(frozen.sought.ids) == 1 else "the ticked ones"]
    elif "group" not in sought:
        which.append("of any group")
    return f"{frozen.count:,} open dead letters match: {', '.join(which)}."


def _check_shown(frozen: Frozen, form: Filters) -> None:
    if not set(frozen.ids) <= set(read_ids(form.text("shown", longest=_MOST_SHOWN) or "")):
        raise InvalidInput(
            "other dead letters match now than those that were shown; nothing was changed: check the list again."
        )


def first_of(form: Filters) -> int | None:
    """How many are to be tried first; None for all at once."""
    if "carefully" not in form:
        return None
    return form.number("first", least=1, most=MOST_TRIED) or _FIRST


def ids_of(given: Filters, name: str) -> tuple[int, ...]:
    """The ids that are given one by one, or joined by commas."""
    words = [word for each, value in given.items() if each == name for word in value[:LONGEST].split(",")]
    if len(words) > _MOST_CHOSEN:
        raise InvalidInput(f"{len(words):,} dead letters are ticked, more than {_MOST_CHOSEN}: use a filter.")
    ids = (Filters([(name, word)]).number(name) for word in words)
    return tuple(id for id in ids if id is not None)


def back_of(form: Filters) -> Back:
    """Where to go from here."""
    fingerprint, letter = form.text("fingerprint"), form.number("letter")
    if letter is not None:
        return Back(path=f"/dead/{letter}")
    names = [name for name in (*TEXTS, "status") if name != "fingerprint"]
    query = {name: text for name in names if (text := form.text(name)) is not None}
    return Back(path="/dead/letters" if fingerprint is None else f"/dead/causes/{fingerprint}", query=query)
