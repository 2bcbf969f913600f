"""Retry policies: how often, and how long between."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.errors import HandlerError, InvalidSubscription
from eventbus.retry import RetryPolicy

durations = st.timedeltas(timedelta(milliseconds=1), timedelta(days=30))
policies = st.builds(RetryPolicy, max_retries=st.integers(0, 1000), backoff=durations, backoff_max=durations)


@given(policies, st.integers(1, 1001))
def test_a_wait_is_random_between_nothing_and_its_ceiling(policy: RetryPolicy, attempts: int) -> None:
    """Full jitter: what failed together does not come back together."""
    assert timedelta(0) <= policy.wait(attempts) <= policy.ceiling(attempts)


@given(policies, st.integers(1, 1000))
def test_the_ceiling_starts_at_the_backoff_doubles_and_is_capped(policy: RetryPolicy, attempts: int) -> None:
    """No wait is longer than backoff_max, however often a delivery has failed."""
    now, next = policy.ceiling(attempts), policy.ceiling(attempts + 1)

    assert policy.ceiling(1) == min(policy.backoff, policy.backoff_max)
    assert next == min(now * 2, policy.backoff_max)
    assert now <= next <= policy.backoff_max


def test_waits_spread_over_the_whole_range() -> None:
    """Neither end is left out, else retries would still come in waves."""
    policy = RetryPolicy(backoff=timedelta(seconds=8))

    waits = [policy.wait(1).total_seconds() for _ in range(400)]

    assert min(waits) < 1
    assert max(waits) > 7


@given(st.integers(0, 1000), st.integers(1, 1002))
def test_max_retries_counts_what_follows_the_first_run(max_retries: int, attempts: int) -> None:
    """max_retries=3 means at most four runs."""
    policy = RetryPolicy(max_retries=max_retries)

    assert policy.allows_retry(attempts=attempts, error=ValueError()) == (attempts <= max_retries)


def test_an_exception_worth_no_retry_is_given_up_at_once_with_its_subclasses() -> None:
    """Nothing that is listed is tried again; everything else is."""
    policy = RetryPolicy(give_up_on=(LookupError,))

    assert not policy.allows_retry(attempts=1, error=KeyError())
    assert policy.allows_retry(attempts=1, error=ValueError())


@pytest.mark.parametrize("listed", [SystemExit, HandlerError])
def test_what_is_no_ordinary_exception_can_be_listed_too(listed: type[BaseException]) -> None:
    """By its own name, and by the one that it is carried on under."""
    error = HandlerError("the handler called sys.exit: SystemExit(3).")
    error.__cause__ = SystemExit(3)

    assert not RetryPolicy(give_up_on=(listed,)).allows_retry(attempts=1, error=error)
    assert RetryPolicy(give_up_on=(MemoryError,)).allows_retry(attempts=1, error=error)
    assert RetryPolicy(give_up_on=(SystemExit,)).allows_retry(attempts=1, error=HandlerError("alone"))


@pytest.mark.parametrize(("max_retries", "limit"), [(0, 3), (2, 3), (3, 4), (10, 11)])
def test_a_delivery_survives_some_deaths_whatever_its_retries(max_retries: int, limit: int) -> None:
    """Most deaths of a process are not the event's fault; a poisonous one ends all the same."""
    assert RetryPolicy(max_retries=max_retries).death_limit == limit


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_retries": -1}, "between 0 and 1000"),
        ({"max_retries": 1001}, "between 0 and 1000"),
        ({"max_retries": True}, "whole number"),
        ({"max_retries": 2.0}, "whole number"),
        ({"backoff": timedelta(0)}, "backoff="),
        ({"backoff": 2}, "backoff=2"),
        ({"backoff_max": timedelta(days=31)}, "backoff_max="),
        ({"give_up_on": KeyError}, "tuple of exception classes"),
        ({"give_up_on": ("KeyError",)}, "tuple of exception classes"),
        ({"give_up_on": (int,)}, "tuple of exception classes"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused(options: dict[str, Any], reason: str) -> None:
    """One sentence names the option and what it must be."""
    with pytest.raises(InvalidSubscription, match=reason):
        RetryPolicy(**options)
