"""Switching a mechanism off, in a process of the tests only: so that the test of that mechanism can be seen to fail.

EVENTBUS_TEST_WITHOUT=<mechanism> ─▶ `tests/__init__.py` weakens the code ─▶ pytest, or a worker of the tests, runs with it

Nothing in eventbus knows of this. Whoever imports anything of ``tests`` has the mechanism switched off: pytest itself, and each
worker whose app is a module of the tests.
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

VARIABLE = "EVENTBUS_TEST_WITHOUT"


@dataclass(frozen=True)
class Text:
    """All statements of a module without a part that at least one of them must have."""

    module: str
    part: str
    instead: str = ""

    def apply(self) -> None:
        module = importlib.import_module(self.module)
        found = {name: value for name, value in vars(module).items() if isinstance(value, str) and self.part in value}
        if not found:
            raise LookupError(f"no statement of {self.module} has {self.part!r}: this control needs another part")
        for name, text in found.items():
            setattr(module, name, text.replace(self.part, self.instead))


@dataclass(frozen=True)
class Value:
    """A constant of a module with another value."""

    module: str
    name: str
    value: Any

    def apply(self) -> None:
        module = importlib.import_module(self.module)
        assert hasattr(module, self.name), f"{self.module} has no {self.name}: this control needs another constant"
        setattr(module, self.name, self.value)


@dataclass(frozen=True)
class Instead:
    """A function or method, by its dotted name in a module, replaced by one that is made from it."""

    module: str
    name: str
    make: Callable[[Callable[..., Any]], Callable[..., Any]]

    def apply(self) -> None:
        owner: Any = importlib.import_module(self.module)
        *path, name = self.name.split(".")
        for part in path:
            owner = getattr(owner, part)
        setattr(owner, name, self.make(getattr(owner, name)))


@dataclass(frozen=True)
class Control:
    """A mechanism switched off, and the test that must then fail."""

    test: str
    edits: tuple[Text | Value | Instead, ...]
    #: Where the test would wait for what never comes.
    timeout_seconds: int = 60


def returning(answer: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Do nothing, and answer this."""
    return lambda _real: lambda *_arguments, **_options: answer


def _no_alarm(_real: Callable[..., Any]) -> Callable[..., Any]:
    @contextlib.contextmanager
    def limited(_timeout: timedelta) -> Iterator[None]:
        yield

    return limited


def _hint_only(_real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *_arguments, **_options: []


def _in_place(_real: Callable[..., Any]) -> Callable[..., Any]:
    """Send at once, whatever becomes of the transaction."""
    return lambda _session, recorded, dispatch: dispatch(recorded)


def _no_floor(_real: Any) -> Any:
    return property(lambda policy: policy.max_retries + 1)


def _never(_real: Any) -> Any:
    return property(lambda _slots: False)


def _never_set(_real: Any) -> Any:
    return property(lambda _driver: False, lambda _driver, _value: None)


def _once(_real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda action, **_options: action()


def _each_by_itself(_real: Callable[..., Any]) -> Callable[..., Any]:
    """Each statement commits by itself."""
    return lambda database: database.autocommit()


SETTLING = "eventbus.storage.settling"
_FENCE = "AND d.claim = :claim"
#: Of a statement: its commit need not reach the disk.
_QUICK = "quick AS (SELECT set_config('synchronous_commit', 'off', true) AS setting)"
_INTEGRATION = "tests/integration"

_RELAYING, _ATTENDANCE = "eventbus.lifecycle.relaying", "eventbus.worker.attendance"
_E2E_SECONDS = 25


def _of_slices() -> dict[str, Control]:
    """What workers do for each other, and main processes for their children; each of these takes a worker or two."""
    return {
        "renewing leases": Control(
            "tests/e2e/test_crashes.py::test_a_handler_may_run_far_longer_than_a_lease",
            (Instead(_ATTENDANCE, "Attendance.renew", returning(None)),),
            timeout_seconds=_E2E_SECONDS,
        ),
        "the relay": Control(
            "tests/e2e/test_relay.py::test_lost_messages_cost_two_seconds",
            (Instead(_RELAYING, "Relay.sweep", returning(None)),),
            timeout_seconds=_E2E_SECONDS,
        ),
        "wake-ups in a worker's own queue": Control(
            "tests/e2e/test_relay.py::test_a_queue_that_is_never_empty_is_gone_round",
            (Instead(_RELAYING, "Relay._go_direct", returning(None)),),
            timeout_seconds=_E2E_SECONDS,
        ),
        "restarting a consumer that is silent": Control(
            "tests/e2e/test_relay.py::test_a_consumer_that_silently_stopped_is_restarted",
            (Instead(_RELAYING, "Relay._go_direct", returning(None)),),
            timeout_seconds=_E2E_SECONDS,
        ),
        "the accounts of dead children": Control(
            "tests/e2e/test_poison.py::test_an_event_that_ends_its_process_is_a_dead_letter_after_three_deaths",
            (Instead(_ATTENDANCE, "Attendance.settle", returning(None)),),
            timeout_seconds=_E2E_SECONDS,
        ),
        "giving back what waits behind a slow handler": Control(
            "tests/e2e/test_shutdown.py::test_neighbours_of_a_slow_handler_do_not_wait_for_it",
            (Value("eventbus.lifecycle.holding", "PATIENCE_SECONDS", 3600.0),),
            timeout_seconds=_E2E_SECONDS,
        ),
        "one suspect at a time": Control(
            "tests/unit/test_slots.py::test_one_process_at_a_time_may_run_a_suspect",
            (Instead("eventbus.lifecycle.slots", "Slots.begin_suspect", returning(True)),),
        ),
        "telling the dead from the living": Control(
            "tests/unit/test_slots.py::test_a_killed_process_is_found_dead_at_once",
            (Instead("eventbus.lifecycle.slots", "Slots.is_dead", returning(False)),),
        ),
    }


CONTROLS: Mapping[str, Control] = {
    "the fence": Control(
        f"{_INTEGRATION}/test_settlement.py::test_whoever_lost_the_claim_changes_nothing",
        (Text(SETTLING, _FENCE),),
    ),
    "the fence in a handler's session": Control(
        f"{_INTEGRATION}/test_handler_sessions.py::test_a_run_that_was_taken_over_commits_nothing",
        (Text(SETTLING, _FENCE),),
    ),
    "the guard of a handler's transaction": Control(
        f"{_INTEGRATION}/test_handler_sessions.py::test_a_handler_cannot_end_the_transaction_early",
        (Instead("eventbus.storage.driver", "DriverConnection.is_lent", _never_set),),
    ),
    "the end of a transaction that was begun ahead": Control(
        f"{_INTEGRATION}/test_session_runs.py::test_no_transaction_stands_open_behind_a_handler_that_has_not_begun",
        (Value("eventbus.lifecycle.handler_sessions", "SPARE_SECONDS", 3600.0),),
    ),
    "the refusal of the command that also commits": Control(
        f"{_INTEGRATION}/test_session_runs.py::test_a_claim_that_is_lost_in_the_middle_commits_nothing",
        (Text(SETTLING, "SELECT 1 / count(*) FROM done", instead="SELECT count(*) FROM done"),),
    ),
    "the wait at the end of a batch with sessions": Control(
        f"{_INTEGRATION}/test_session_crashes.py::test_a_batch_that_has_ended_is_on_the_disk",
        (Text(SETTLING, "pg_logical_emit_message(true, 'eventbus', '')", "1"),),
    ),
    "the wait of a session that has published": Control(
        f"{_INTEGRATION}/test_session_crashes.py::test_a_run_that_has_published_waits_for_the_disk",
        (Instead("eventbus.lifecycle.handler_sessions", "has_published", returning(answer=False)),),
    ),
    "leases": Control(
        f"{_INTEGRATION}/test_claim.py::test_a_delivery_has_one_holder_at_a_time",
        (Text("eventbus.storage.claiming", "AND d.due_at <= statement_timestamp()"),),
    ),
    "suspicion": Control(
        f"{_INTEGRATION}/test_claim.py::test_a_claim_whose_lease_ended_is_taken_over_as_a_suspect",
        (Text("eventbus.storage.claiming", "d.suspect OR d.state = 'running'", "d.suspect"),),
    ),
    "the record of a start": Control(
        f"{_INTEGRATION}/test_claim.py::test_a_death_after_a_committed_start_is_found_by_exactly_one_of_two",
        (Instead("eventbus.storage.claiming", "commit_start", returning(True)),),
    ),
    "the floor of deaths": Control(
        f"{_INTEGRATION}/test_settlement.py::test_poison_is_dead_after_a_bounded_number_of_deaths",
        (Instead("eventbus.retry", "RetryPolicy.death_limit", _no_floor),),
    ),
    "dead letter and state in one transaction": Control(
        f"{_INTEGRATION}/test_settlement.py::test_dead_letter_state_and_attempt_are_one_transaction",
        (Instead("eventbus.storage.database", "Database.transaction", _each_by_itself),),
    ),
    "running once more after a replay": Control(
        f"{_INTEGRATION}/test_replay.py::test_a_running_delivery_runs_once_more_after_it_ends",
        (Text("eventbus.storage.redelivery", "rerun = (state = 'running')", "rerun = false"),),
    ),
    "the sweep": Control(
        f"{_INTEGRATION}/test_sweep.py::test_every_lost_message_is_sent_again",
        (Instead("eventbus.storage.deliveries", "list_due", returning([])),),
    ),
    "any wake-up being good for any delivery": Control(
        f"{_INTEGRATION}/test_claim.py::test_a_hint_that_leads_nowhere_leaves_the_oldest_due_one",
        (
            Instead(
                "eventbus.storage.claiming",
                "claim_fresh",
                _hint_only,
            ),
        ),
    ),
    "time limits": Control(
        f"{_INTEGRATION}/test_handling.py::test_a_handler_ends_at_its_time_limit",
        (Instead("eventbus.lifecycle.handling", "limited", _no_alarm),),
        timeout_seconds=10,
    ),
    "waiting for the commit": Control(
        f"{_INTEGRATION}/test_publish_in_session.py::test_messages_leave_after_the_commit_and_not_before",
        (Instead("eventbus.lifecycle.committing", "dispatch_after_commit", _in_place),),
    ),
    "dropping what a savepoint takes along": Control(
        f"{_INTEGRATION}/test_publish_in_session.py::test_a_savepoint_that_is_rolled_back_drops_its_own_events_only",
        (Instead("eventbus.lifecycle.committing", "_Pending._after_soft_rollback", returning(None)),),
    ),
    "the broker's short circuit": Control(
        f"{_INTEGRATION}/test_broker.py::test_a_hung_broker_costs_one_publish_its_time_limit",
        (Instead("eventbus.lifecycle.waking", "Circuit.open", returning(None)),),
    ),
    "asking what became of a lost commit": Control(
        f"{_INTEGRATION}/test_lost_answers.py::test_an_event_that_was_recorded_is_returned_and_its_groups_are_woken",
        (Instead("eventbus.lifecycle.certainty", "was_lost", returning(False)),),
    ),
    "leaving paused groups alone": Control(
        f"{_INTEGRATION}/test_sweep.py::test_a_paused_group_is_left_alone",
        (Text("eventbus.storage.deliveries", "WHERE NOT g.paused", "WHERE true"),),
    ),
    "giving back when a worker stops": Control(
        f"{_INTEGRATION}/test_slices.py::test_a_worker_that_stops_gives_the_rest_of_its_batch_back",
        (Instead("eventbus.lifecycle.slots", "Slots.is_stopping", _never),),
    ),
    "insisting on a settlement": Control(
        f"{_INTEGRATION}/test_slices.py::test_a_settlement_that_the_database_lost_is_repeated",
        (Instead("eventbus.lifecycle.execution", "insist", _once),),
    ),
    "giving back a claim whose answer was lost": Control(
        f"{_INTEGRATION}/test_slices.py::test_a_claim_whose_answer_is_lost_is_given_back_at_once",
        (Instead("eventbus.lifecycle.execution", "Execution.give_back", returning(0)),),
    ),
    "ending a claim that still runs": Control(
        f"{_INTEGRATION}/test_slices.py::test_a_claim_that_still_runs_when_its_connection_is_lost_takes_nothing",
        (Instead("eventbus.storage.backends", "end", returning(True)),),
    ),
    "claims that reach the disk": Control(
        f"{_INTEGRATION}/test_claim.py::test_a_claim_survives_a_server_that_crashes_right_after_it",
        (
            Text("eventbus.storage.claiming", "WITH fence AS", f"WITH {_QUICK}, fence AS"),
            Text(
                "eventbus.storage.claiming",
                "WHERE d.event_id = ANY",
                "FROM quick WHERE quick.setting = 'off' AND d.event_id = ANY",
            ),
        ),
    ),
    "deadlines": Control(
        f"{_INTEGRATION}/test_deadlines.py::test_a_block_that_takes_too_long_loses_its_connection",
        (Instead("eventbus.storage.deadlines", "Deadlines._cut", returning(None)),),
    ),
    "charging a death that was found": Control(
        f"{_INTEGRATION}/test_accounting.py::test_a_death_whose_finder_dies_is_charged_by_its_main_process",
        (Value("eventbus.lifecycle.slots", "_FOUND_DEAD", b"\x01"),),
    ),
    **_of_slices(),
}


def weaken(mechanism: str) -> None:
    """Switch *mechanism* off in this process."""
    for edit in CONTROLS[mechanism].edits:
        edit.apply()
