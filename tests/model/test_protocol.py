"""The protocol keeps its promises in every state that a scenario reaches; and without any one of its rules it does not."""

from dataclasses import fields, replace

import pytest

from tests.model.rules import Rules
from tests.model.scenarios import BY_NAME, SCENARIOS
from tests.model.search import search
from tests.model.states import Scenario

#: The smallest scenario that breaks without the rule; `python -m tests.model ablate` finds it.
WITNESSES = {
    "fence_asks_claim": "rolling restarts",
    "fence_asks_state": "settling fails",
    "renewal_asks_claim": "zombie and kill",
    "claim_is_random": "rolling restarts",
    "session_commit_is_fenced": "orphans",
    "session_cannot_commit_early": "orphans",
    "settlement_is_retried": "settling fails",
    "claims_commit_synchronously": "PostgreSQL crashes after a claim",
    "dead_letter_is_atomic": "poison and claimants that die",
    "done_forgets_suspicion": "zombie and replay",
    "slot_names_the_dead": "poison after returning",
    "only_started_is_charged": "replay",
    "main_settles_returned": "poison after returning",
    "death_limit_has_floor": "poison after returning",
    "ended_lease_makes_suspect": "poison and claimants that die",
    "suspicion_survives_give_back": "poison and claimants that die",
    "suspects_run_alone": "poison after innocent",
    "suspect_start_is_committed": "poison and claimants that die",
    "found_death_is_charged": "poison and claimants that die",
    "one_suspect_per_worker": "poison kills worker",
    "tried_rows_are_claimed": "poison after returning",
    "claims_only_known_rows": "old and new code",
    "rewakes_after_progress_only": "paused group",
    "handlers_have_time_limit": "hanging handler",
    "renewal_follows_slots": "poison and claimants that die",
    "renewal_outlives_stop": "rolling restarts",
    "relay_runs": "poison after returning",
    "relay_counts_known_rows": "old and new code",
    "relay_skips_paused": "paused group",
    "relay_goes_direct": "old and new code",
    "replay_resolves_dead_letter": "replay",
    "replay_reruns_running": "replay",
    "resolving_asks_open": "zombie and dead-letter retry",
}
#: Without them nothing breaks here, where time has no length: they keep a delivery from waiting, or from running twice in vain.
ABOUT_TIME = {
    "slow_run_gives_neighbours_back",
    "shutdown_gives_back",
    "renewal_revives_ended_lease",
    "wake_up_name_is_hint",  # the relay's direct wake-ups make up for it
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_promise_holds_in_every_state(scenario: Scenario) -> None:
    """With all rules no promise is broken, nothing is stuck, and nothing spins."""
    found = search(scenario, Rules())

    assert found.broken is None, f"\n{found}"


@pytest.mark.parametrize("rule", WITNESSES)
def test_without_a_rule_a_promise_breaks(rule: str) -> None:
    """Each rule is there for a reason that the search can show."""
    found = search(BY_NAME[WITNESSES[rule]], replace(Rules(), **{rule: False}))

    assert found.broken is not None


def test_each_rule_has_a_witness() -> None:
    """A rule that is added is shown to be needed, or said to be about time."""
    assert {field.name for field in fields(Rules)} == WITNESSES.keys() | ABOUT_TIME


def test_without_hints_and_direct_wake_ups_a_row_is_never_found() -> None:
    """Either of the two makes up for the other."""
    rules = replace(Rules(), wake_up_name_is_hint=False, relay_goes_direct=False)

    assert search(BY_NAME["busy queue"], rules).broken is not None
