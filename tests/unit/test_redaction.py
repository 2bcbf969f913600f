"""Redaction of texts: what a handler's error says of a hidden value is hidden too, however it was written."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from eventbus.event import Event
from eventbus.redaction import conceal, is_redacted, secrets_of


def event(data: Any, **metadata: Any) -> Event:
    """An event with those data."""
    return Event(
        id=uuid4(),
        type="order.created",
        version=1,
        source="tests",
        data=data,
        metadata={"correlation_id": "c", **metadata},
        created_at=datetime.now(UTC),
    )


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("ann@example.org", "no mailbox ann@example.org", "no mailbox [redacted]"),
        ("ann@example.org", "No Mailbox ANN@EXAMPLE.ORG!", "No Mailbox [redacted]!"),
        ("ann@example.org", "GET /?to=ann%40example.org", "GET /?to=[redacted]"),
        ("Zoë\n1", "KeyError: 'Zoë\\n1'", "KeyError: '[redacted]'"),
        ("Zoë\n1", '{"name": "Zo\\u00eb\\n1"}', '{"name": "[redacted]"}'),
        ("Zoë\n1", "Zoë\n1 is away", "[redacted] is away"),
        ("Ann", "Ann has Annotations", "[redacted] has Annotations"),
        ("4711", "order 4711 of 14711", "order [redacted] of 14711"),
        (4711, "order 4711 of 14711", "order [redacted] of 14711"),
        (-1.5, "ValueError: -1.5", "ValueError: [redacted]"),
        ({"street": "Am Markt 1", "no": 7}, "Am Markt 1, 7", "[redacted], [redacted]"),
        (["secret"], "the secret", "the [redacted]"),
        ("secret-of-many-words", "cut: secret-of-m", "cut: [redacted]"),
        (
            "secret-of-many-words",
            "secret-of-m\n[... 7 characters left out ...]\nny-words is away",
            "[redacted]\n[... 7 characters left out ...]\n[redacted] is away",
        ),
        ("", "nothing", "nothing"),
        (" ", "a b", "a b"),
        (True, "True", "True"),
        (None, "None", "None"),
    ],
)
def test_a_hidden_value_shows_in_no_text(value: Any, text: str, shown: str) -> None:
    """In any case and spelling, whole or cut; what merely looks like a short one stays."""
    assert conceal(text, secrets_of(event({"hidden": value, "seen": "is"}), ["data.hidden"])) == shown


def test_the_longest_value_is_taken_first() -> None:
    """Where one holds the other, no rest of it is left."""
    secrets = secrets_of(event({"a": "alpha", "b": "alphabet"}), ["data.a", "data.b"])

    assert conceal("alphabet alpha", secrets) == "[redacted] [redacted]"


@pytest.mark.parametrize("path", ["data.items.*.note", "data.items.1.note", "data.*", "metadata.headers.token"])
def test_values_are_found_by_path(path: str) -> None:
    """A star is every field and every item."""
    found = secrets_of(event({"items": [3, {"note": "secret"}]}, headers={"token": "secret"}), [path])

    assert "secret" in found


def test_a_path_that_leads_nowhere_hides_nothing() -> None:
    """Neither beyond a text nor where no such field is."""
    assert secrets_of(event({"a": "text"}), ["data.a.b", "data.x"]) == ()
    assert conceal("text", ()) == "text"


@pytest.mark.parametrize(
    ("word", "is_hidden"), [("0", True), ("00", True), ("-1", True), (" 0", True), ("1", False), ("x", False)]
)
def test_an_index_has_many_spellings(word: str, is_hidden: bool) -> None:
    """As PostgreSQL reads a path: any that may mean a hidden item is refused."""
    assert is_redacted(["data", "cards", word], ["data.cards.0"]) is is_hidden
