"""The rules of a replay: what becomes of a delivery, for every state it may be in."""

import itertools

import pytest

from eventbus.delivery import FINAL_STATES, OPEN_STATES, State
from eventbus.replay import DELIVERED, MADE_DUE, Outcome, judge

EVERY = [
    (state, discarded, opts_out, include_dead)
    for state, discarded, opts_out, include_dead in itertools.product(
        [None, *State], [False, True], [False, True], [False, True]
    )
    if not discarded or state is State.CANCELLED
]


@pytest.mark.parametrize(("state", "discarded", "opts_out", "include_dead"), EVERY)
def test_the_rules_hold_for_every_delivery(
    state: State | None, discarded: bool, opts_out: bool, include_dead: bool
) -> None:
    """Nothing runs that opted out, nothing dead unless asked for, nothing open twice; all else is as if new."""
    outcome = judge(state, discarded=discarded, opts_out=opts_out, include_dead=include_dead)

    was_dead = state is State.DEAD or discarded
    assert (outcome in DELIVERED) == (not opts_out and (not was_dead or include_dead))
    assert (outcome in MADE_DUE) == (outcome in DELIVERED and (state is None or state in FINAL_STATES))
    assert (outcome is Outcome.RERUN) == (state is State.RUNNING and not opts_out)
    assert (outcome is Outcome.LEFT_OPEN) == (state in set(OPEN_STATES) - {State.RUNNING} and not opts_out)
    assert (outcome is Outcome.LEFT_DEAD) == (was_dead and (opts_out or not include_dead))
    assert (outcome is Outcome.SKIPPED) == (opts_out and not was_dead)
