"""Values: what drivers return, as the one Python type that the bus uses for it, and ids as all drivers take them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID


def as_uuid(value: Any) -> UUID:
    """A uuid, which psycopg2 returns as text, and asyncpg as a class of its own."""
    return value if type(value) is UUID else UUID(str(value))


def as_texts(ids: Iterable[UUID]) -> list[str]:
    """Ids as a statement takes many of them: an array of texts."""
    return [str(id) for id in ids]


def as_utc(value: datetime) -> datetime:
    """An aware time, which PostgreSQL returns in the session's zone, in UTC."""
    return value.astimezone(UTC)


def as_utc_or_none(value: datetime | None) -> datetime | None:
    """The same for a column that may be empty."""
    return None if value is None else as_utc(value)
