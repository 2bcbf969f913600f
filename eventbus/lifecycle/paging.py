"""Paging: how many items a page of a list may have, and numbers that say where it begins, whatever is listed."""

from typing import TypeGuard

from eventbus.errors import InvalidInput

_LARGEST_PAGE = 1000


def check_limit(limit: object) -> None:
    """Make sure that a page may have up to *limit* items.

    Raises:
        InvalidInput: It is no whole number from 1 to 1000.
    """
    if not is_number(limit) or not 1 <= limit <= _LARGEST_PAGE:
        raise InvalidInput(f"limit={limit!r:.60} must lie between 1 and {_LARGEST_PAGE}.")


def is_number(value: object) -> TypeGuard[int]:
    """Whether *value* is a whole number that PostgreSQL can compare with an id, which it cannot do with True."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63
