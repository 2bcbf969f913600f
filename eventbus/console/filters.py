"""Filters: what the address of a page asks for, read name by name and checked, so that a page can be shared as it is seen."""

from collections.abc import Iterable, Mapping
from urllib.parse import urlencode
from uuid import UUID

from eventbus.errors import InvalidInput
from eventbus.wire import is_text

_LONGEST = 500
_LARGEST = 1 << 63


class Filters:
    """The parameters of an address, or of a form. What is empty counts as not given."""

    def __init__(self, items: Iterable[tuple[str, str]]) -> None:
        self._items = [(name, value) for name, value in items if value != ""]

    def __contains__(self, name: str) -> bool:
        return any(name == each for each, _ in self._items)

    def items(self) -> list[tuple[str, str]]:
        """All of them, in their order."""
        return list(self._items)

    def text(self, name: str, *, longest: int = _LONGEST) -> str | None:
        """The text that is given as *name*, the last one if there are several.

        Raises:
            InvalidInput: It is too long, or nobody could have written it.
        """
        values = [value for each, value in self._items if each == name]
        if not values:
            return None
        text = values[-1]
        if len(text) > longest:
            raise InvalidInput(f"{name} is longer than {longest} characters.")
        if not is_text(text):
            raise InvalidInput(f"{name}={text!r:.60} is not a text.")
        return text

    def texts(self, name: str, *, most: int = 1000) -> list[str]:
        """All texts that are given as *name*, such as ticked boxes.

        Raises:
            InvalidInput: As `text`; or they are too many.
        """
        values = [value for each, value in self._items if each == name]
        if len(values) > most:
            raise InvalidInput(f"{name} is given {len(values):,} times, more than {most:,}.")
        return [text for value in values if (text := Filters([(name, value)]).text(name)) is not None]

    def choice(self, name: str, choices: Iterable[str]) -> str | None:
        """The one of *choices* that is given.

        Raises:
            InvalidInput: It is none of them.
        """
        text, known = self.text(name), list(choices)
        if text is not None and text not in known:
            raise InvalidInput(f"{name}={text!r:.60} must be one of {', '.join(known)}.")
        return text

    def number(self, name: str, *, least: int = 0, most: int = _LARGEST - 1) -> int | None:
        """The whole number that is given.

        Raises:
            InvalidInput: It is none, or lies outside.
        """
        text = self.text(name, longest=60)
        if text is None:
            return None
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1
        if not least <= number <= most:
            raise InvalidInput(f"{name}={text!r:.60} must be a whole number from {least} to {most}.")
        return number

    def uuid(self, name: str) -> UUID | None:
        """The id that is given.

        Raises:
            InvalidInput: It is none.
        """
        text = self.text(name, longest=60)
        if text is None:
            return None
        try:
            return UUID(text)
        except ValueError:
            raise InvalidInput(f"{name}={text!r:.60} is not an id.") from None

    def with_changes(self, changes: Mapping[str, object]) -> str:
        """The query of an address that asks the same but for *changes*; None takes a name away."""
        kept = [(name, value) for name, value in self._items if name not in changes]
        added = [(name, str(value)) for name, value in changes.items() if value is not None]
        return urlencode([*kept, *added], errors="replace")
