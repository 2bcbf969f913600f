"""The error tree: what its drawing says is what the classes are."""

import copy
import inspect
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from eventbus import Event, errors


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
        (errors.UnknownEventVersion("order.created", 3, [1, 2]), "no version 3: versions 1, 2 are registered here;"),
        (errors.UnknownEventVersion("order.created", 3, [1]), "no version 3: version 1 is registered here;"),
        (errors.UnknownEventVersion("order.created", 3, []), "no version 3: none is registered."),
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


def kinds(root: type[errors.EventBusError]) -> Iterator[type[errors.EventBusError]]:
    """*root* and all below it."""
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


@pytest.mark.parametrize("kind", sorted({*kinds(errors.EventBusError)}, key=lambda kind: kind.__qualname__))
def test_an_error_passes_between_processes(kind: type[errors.EventBusError]) -> None:
    """Whatever it was made from: its message and its facts arrive."""
    error = kind.__new__(kind, "what is wrong")
    error.args, error.index = ("what is wrong",), 3

    arrived = pickle.loads(pickle.dumps(error))

    assert type(arrived) is kind
    assert (str(arrived), arrived.index) == ("what is wrong", 3)


def test_the_facts_of_an_error_pass_between_processes() -> None:
    """With the events that publish_many had recorded before, which load there as they do without a bus."""
    event = Event(
        id=uuid4(), type="a", version=1, source="s", data={}, created_at=datetime.now(UTC), loader=lambda event: None
    )
    error = errors.InvalidEvent("order.created", {"amount": ["Missing data."]})
    error.recorded = (event,)

    arrived = pickle.loads(pickle.dumps(error))

    assert (str(arrived), arrived.errors, arrived.recorded) == (str(error), error.errors, (event,))
    assert arrived.recorded[0].load() == {}
    assert copy.copy(event).loader is event.loader
