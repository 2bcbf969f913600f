"""JSON that somebody has written: read as it stands, or refused, but never with a part of it left out."""

import json
from collections import Counter


class RepeatedKey(ValueError):
    """An object has a key twice, of which only one could be kept; the text says which."""

    def __init__(self, key: str) -> None:
        super().__init__(f"has the key {key!r:.60} twice in one object; keep one of the two")


def read_json(text: str | bytes) -> object:
    """The value of *text*.

    Raises:
        RepeatedKey: An object in it has a key twice.
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise RepeatedKey(key)
    return found
