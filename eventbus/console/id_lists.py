"""Lists of ids in a form or an address: the first one, then how far it is to each next one, compressed.

A hundred thousand ids that follow each other become a kilobyte, scattered ones some hundred; so a form can carry all that it means.
"""

import base64
import re
import zlib
from collections.abc import Sequence
from itertools import accumulate, pairwise

from eventbus.errors import InvalidInput

_LIST = re.compile(r"[0-9]{1,18}(,[0-9]{1,18})*")
_MOST_CHARACTERS = 20_000_000


def write_ids(ids: Sequence[int], *, longest: int) -> str | None:
    """*ids*, which rise, as a text; None if it would be longer than *longest*, or there are none."""
    steps = ",".join(map(str, [*ids[:1], *(after - before for before, after in pairwise(ids))]))
    text = base64.urlsafe_b64encode(zlib.compress(steps.encode())).decode()
    return text if ids and len(text) <= longest else None


def read_ids(text: str) -> list[int]:
    """The ids that `write_ids` wrote.

    Raises:
        InvalidInput: It did not.
    """
    try:
        unpacking = zlib.decompressobj()
        steps = unpacking.decompress(base64.b64decode(text, altchars=b"-_", validate=True), _MOST_CHARACTERS).decode()
    except (ValueError, zlib.error):
        steps = ""
    if not _LIST.fullmatch(steps):
        raise InvalidInput(f"{text!r:.60} is no list of dead letters.")
    return list(accumulate(map(int, steps.split(","))))
