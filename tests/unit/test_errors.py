"""The error tree: what its drawing says is what the classes are."""

import inspect

import pytest

from eventbus import errors


def drawn() -> dict[str, str]:
    """Each class in the drawing, with the one above it."""
    above: dict[int, str] = {}
    found: dict[str, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        name = line.strip("│├└─ ").split(" ")[0]
        if not line.startswith("    ") or not hasattr(errors, name):
            continue
        depth = line.index(name)
        above[depth] = name
        if depth > 4:
            found[name] = above[max(known for known in above if known < depth)]
        above = {known: value for known, value in above.items() if known <= depth}
    return found


def test_the_drawing_shows_every_class_below_its_parent() -> None:
    """Whoever reads the tree knows what to catch."""
    classes = [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, Exception)]

    assert drawn() == {item.__name__: item.__mro__[1].__name__ for item in classes if item is not errors.EventBusError}


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (errors.UnknownEventVersion("order.created", None, [1, 2]), "order.created needs a version: versions 1, 2"),
        (errors.UnknownEventVersion("order.created", 3, [1]), "order.created has no version 3"),
        (errors.UnknownGroup("x"), "no group has subscribed yet"),
        (errors.UnknownGroup("x", ["a", "b"]), "known groups are a, b"),
        (errors.NotMigrated(None, "0001", "schema 's'"), "has no eventbus tables"),
        (errors.NotMigrated("0000", "0001", "schema 's'"), "revision 0000, older than 0001"),
        (errors.NotMigrated("0002", "0001", "schema 's'"), "revision 0002, newer than 0001"),
        (errors.PublishUncertain("order.created", "key-1"), "repeat it with idempotency_key='key-1'"),
        (errors.PublishUncertain("order.created", None), "only a publish with an idempotency_key"),
        (errors.InvalidEventType("x" * 100), "xxx... is not an event type"),
    ],
)
def test_a_message_says_what_is_wrong_and_what_to_do(error: errors.EventBusError, says: str) -> None:
    """One sentence, for the reader who must act."""
    assert says in str(error)
    assert "\n" not in str(error)
