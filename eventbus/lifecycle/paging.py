"""Paging: how many items a page of a list may have, whatever is listed."""

from eventbus.errors import InvalidInput

_LARGEST_PAGE = 1000


def check_limit(limit: object) -> None:
    """Make sure that a page may have up to *limit* items.

    Raises:
        InvalidInput: It is no whole number from 1 to 1000.
    """
    if not isinstance(limit, int) or not 1 <= limit <= _LARGEST_PAGE:
        raise InvalidInput(f"limit={limit!r:.60} must lie between 1 and {_LARGEST_PAGE}.")
