"""The rules of the protocol: what the code does so that no promise breaks. True means that the rule is followed."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Each is needed: tests/model/test_protocol.py switches it off and expects a broken promise, or says why it cannot."""

    # The fence
    fence_asks_claim: bool = True  #: settle and give back WHERE claim = mine
    fence_asks_state: bool = True  #: ... AND state = 'running'
    renewal_asks_claim: bool = True  #: renew WHERE claim = mine, not by row alone
    claim_is_random: bool = True  #: else it is attempts + deaths, which go back to 0
    session_commit_is_fenced: bool = True  #: the handler's own transaction ends with the fencing UPDATE
    session_cannot_commit_early: bool = True  #: effect and done commit together

    # Settling
    settlement_is_retried: bool = True  #: else a settlement that fails is dropped
    claims_commit_synchronously: bool = True  #: only completion may be forgotten by a crash
    dead_letter_is_atomic: bool = True  #: dead letter and state in one transaction
    done_forgets_suspicion: bool = True  #: a row replayed while it ran begins its new life without suspicion or counts

    # Deaths
    slot_names_the_dead: bool = True  #: what died is read from the slot, not from what the wake-up named
    only_started_is_charged: bool = True  #: rows claimed and not started are given back uncharged
    main_settles_returned: bool = True  #: a returned row of a dead child is settled, not run again
    death_limit_has_floor: bool = True  #: max(max_retries + 1, floor) deaths make a row dead
    ended_lease_makes_suspect: bool = True  #: a row that is claimed while it is running is a suspect
    suspicion_survives_give_back: bool = True  #: only a replay or a retry clears it
    suspects_run_alone: bool = True  #: else they join the batch of fresh rows
    suspect_start_is_committed: bool = True  #: the lease of a committed start that ends is a death
    found_death_is_charged: bool = True  #: by whoever ends that claim; giving the row back would forget it
    one_suspect_per_worker: bool = True  #: two children of one worker never run suspects at the same time

    # Slices
    tried_rows_are_claimed: bool = True  #: by any slice, not only where a wake-up names them
    slow_run_gives_neighbours_back: bool = True  #: rows that are not started do not wait behind a slow handler
    claims_only_known_rows: bool = True  #: of subscriptions that this worker's code declares
    rewakes_after_progress_only: bool = (
        True  #: a slice sends one more wake-up only if it claimed and claimable rows remain
    )
    shutdown_gives_back: bool = True  #: else a worker that stops runs the rest of its batch
    handlers_have_time_limit: bool = True

    # Renewal
    renewal_follows_slots: bool = True  #: not everything that this worker ever claimed
    renewal_revives_ended_lease: bool = True  #: a lease that ended, and that nobody took over, may be renewed
    renewal_outlives_stop: bool = True  #: until the worker has shut down

    # The relay
    relay_runs: bool = True
    relay_counts_known_rows: bool = True  #: rows that its own code can run
    relay_skips_paused: bool = True
    relay_goes_direct: bool = True  #: when the oldest due row does not move, it wakes this very worker
    wake_up_name_is_hint: bool = True  #: a slice takes what is due, whatever its wake-up names

    # Operators
    replay_resolves_dead_letter: bool = True
    replay_reruns_running: bool = True  #: a running row runs once more when that run ends
    resolving_asks_open: bool = True  #: retry and discard WHERE status = 'open'
