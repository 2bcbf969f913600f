"""Times: what is taken as a point in time, and that nothing is guessed."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventbus.errors import InvalidTime
from eventbus.times import parse_moment

EAST = timezone(timedelta(hours=2))
OFFSETS = st.timedeltas(min_value=timedelta(hours=-23), max_value=timedelta(hours=23)).map(
    lambda offset: timezone(timedelta(minutes=offset // timedelta(minutes=1)))
)
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2h ago", timedelta(hours=2)),
        ("30m", timedelta(minutes=30)),
        ("1d", timedelta(days=1)),
        (" 90 s ago ", timedelta(seconds=90)),
        ("2w", timedelta(weeks=2)),
        ("0s", timedelta(0)),
        ("2026-05-01T12:00:00Z", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("2026-05-01 14:00+02:00", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("20260501T120000.25-0000", datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)),
        (datetime(2026, 5, 1, 14, tzinfo=EAST), datetime(2026, 5, 1, 12, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_time_in_utc_or_a_span_before_now(given: object, meant: object) -> None:
    """Both forms of a time, and the short form for "so long ago"."""
    assert parse_moment("since", given) == meant


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (datetime(2026, 5, 1), "has no offset"),  # noqa: DTZ001 - this is what is refused
        ("2026-05-01T12:00:00", "has no offset"),
        ("2026-05-01", "has no offset"),
        ("yesterday", "is not a time"),
        ("", "is not a time"),
        ("2 hours ago", "is not a time"),
        ("-2h", "is not a time"),
        ("1.5h", "is not a time"),
        ("1h30m", "is not a time"),
        ("２h ago", "is not a time"),  # noqa: RUF001 - a digit that only looks like one
        ("２026-05-01T12:00:00Z", "is not a time"),  # noqa: RUF001
        ("1714564800", "is not a time"),
        (1714564800, "is not a time"),
        (timedelta(hours=2), "is not a time"),
        (None, "is not a time"),
        (True, "is not a time"),
        ("9999999h", "is not a time"),
        ("99999w", "more than a century"),
        ("0001-01-01T00:00:00+23:00", "outside the years"),
        ("9999-12-31T23:59:59-23:00", "outside the years"),
    ],
)
def test_anything_else_is_refused(given: object, reason: str) -> None:
    """The error names the argument and says what would do."""
    with pytest.raises(InvalidTime, match=reason) as refused:
        parse_moment("since", given)

    assert str(refused.value).startswith("since=")
    assert "2h ago" in str(refused.value)


@given(at=st.datetimes(min_value=datetime(2, 1, 2), max_value=datetime(9998, 12, 30)), offset=OFFSETS)  # noqa: DTZ001
def test_every_time_with_an_offset_is_the_same_time_in_utc(at: datetime, offset: timezone) -> None:
    """Whatever its offset, as a datetime and as ISO 8601."""
    aware = at.replace(tzinfo=offset)

    for given_as in (aware, aware.isoformat(), aware.isoformat(sep=" ")):
        parsed = parse_moment("until", given_as)
        assert parsed == aware
        assert isinstance(parsed, datetime)
        assert parsed.tzinfo is UTC


@given(number=st.integers(0, 5000), unit=st.sampled_from(sorted(UNITS)), ago=st.sampled_from(["", " ago"]))
def test_every_span_is_what_it_says(number: int, unit: str, ago: str) -> None:
    """A whole number of one unit."""
    assert parse_moment("since", f"{number}{unit}{ago}") == timedelta(**{UNITS[unit]: number})


@given(value=st.text() | st.integers() | st.floats() | st.none() | st.binary())
@example(value="2026-W18-5T12:00Z")
@example(value="+1h")
def test_nothing_fails_otherwise_than_as_invalid(value: Any) -> None:
    """A time in UTC, a span, or InvalidTime: no other error, no naive time."""
    try:
        parsed = parse_moment("since", value)
    except InvalidTime:
        return

    assert isinstance(parsed, timedelta) or parsed.tzinfo is UTC
