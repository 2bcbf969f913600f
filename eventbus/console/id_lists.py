"""Lists of ids in a form or an address: the first one, then how far it is to each next one, which is shorter than the ids."""

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise

from eventbus.errors import InvalidInput

_LIST = re.compile(r"[0-9]{1,18}(,[0-9]{1,18})*")


def write_ids(ids: Sequence[int], *, longest: int) -> str | None:
    """*ids*, which rise, as a text; None if it would be longer than *longest*, or there are none."""
    text = ",".join(map(str, [*ids[:1], *(after - before for before, after in pairwise(ids))]))
    return text if 0 < len(text) <= longest else None


def read_ids(text: str) -> list[int]:
    """The ids that `write_ids` wrote.

    Raises:
        InvalidInput: It did not.
    """
    if not _LIST.fullmatch(text):
        raise InvalidInput(f"{text!r:.60} is no list of dead letters.")
    return list(accumulate(map(int, text.split(","))))
