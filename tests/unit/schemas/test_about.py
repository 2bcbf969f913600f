"""What is said of a version."""

from typing import Any

import pytest
from celery import Celery

from eventbus import EventBus
from eventbus.errors import InvalidSchema
from eventbus.schemas.event_schema import EventSchema


@pytest.mark.parametrize("word", ["owner", "description", "deprecation", "changelog"])
@pytest.mark.parametrize("said", ["a\x00b", "\ud800", 5, ["shop"]])
def test_words_are_text_that_can_be_kept(word: str, said: Any) -> None:
    """They are refused where they are written, and not by the registry."""
    with pytest.raises(InvalidSchema, match=f"^thing.made: {word}"):
        EventBus(Celery(set_as_current=False)).event("thing.made", version=1, **{word: said})(EventSchema)
