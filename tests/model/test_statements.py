"""The real statements against the model; and each statement's part of the protocol taken out, to see the machine notice."""

import os
from collections.abc import Callable
from types import ModuleType

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from eventbus.storage import claiming, deliveries, redelivery, resolving
from tests.model import statements
from tests.model.machine import StatementMachine

#: EVENTBUS_TEST_EXAMPLES=5000 makes it a long run.
EXAMPLES = int(os.environ.get("EVENTBUS_TEST_EXAMPLES", "60"))
#: A control ends with the first example that notices: usually among the first twenty.
CONTROL_EXAMPLES = 300
SETTLING: ModuleType = statements.settling or deliveries


def bounded(examples: int, **options: object) -> settings:
    """Always the same run, whatever ran before."""
    return settings(
        max_examples=examples,
        stateful_step_count=40,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.timeout(300)
def test_statements_do_what_the_model_says(machine: type[StatementMachine]) -> None:
    """From several connections, in any order, in mid-transaction: no answer and no row differs from the model's."""
    run_state_machine_as_test(machine, settings=bounded(EXAMPLES))


def without(statement: str, *parts: str, instead: str = "") -> Callable[[ModuleType], tuple[str, str]]:
    """*statement* of a module without *parts*, all of which it must have."""

    def weaken(module: ModuleType) -> tuple[str, str]:
        text = getattr(module, statement)
        for part in parts:
            assert part in text, f"{statement} has no {part!r}: this control needs another"
            text = text.replace(part, instead)
        return statement, text

    return weaken


CONTROLS = {
    "claim ignores leases": (claiming, without("CLAIM_NAMED", "AND d.due_at <= statement_timestamp()")),
    "claim waits for locks": (claiming, without("CLAIM_NAMED", "SKIP LOCKED")),
    "claim ignores the pause": (claiming, without("CLAIM_NAMED", "AND g.paused", instead="AND false")),
    "claim forgets suspicion": (
        claiming,
        without("CLAIM_NAMED", "suspect = d.suspect OR d.state = 'running'", instead="suspect = false"),
    ),
    "claim forgets a death": (
        claiming,
        without("CLAIM_NAMED", "task_id = :task_id,", instead="task_id = :task_id, started_at = NULL,"),
    ),
    "start is not fenced": (claiming, without("COMMIT_START", "AND claim = :claim")),
    "done is not fenced": (SETTLING, without("MARK_DONE", "AND d.claim = :claim")),
    "done forgets a replay": (
        SETTLING,
        without("MARK_DONE", "CASE WHEN d.rerun THEN 'pending' ELSE 'done' END", instead="'done'"),
    ),
    "retrying is not fenced": (SETTLING, without("MARK_RETRYING", "AND d.claim = :claim")),
    "death is not charged": (
        SETTLING,
        without("MARK_RETRYING", "deaths = d.deaths + :deaths", instead="deaths = d.deaths"),
    ),
    "dead is not fenced": (SETTLING, without("MARK_DEAD", "AND d.claim = :claim")),
    "retry ignores the status": (
        resolving,
        without("RETRY", "l.status = 'open'", "d.state = 'dead'", instead="true"),
    ),
    "replay keeps the letter": (
        redelivery,
        without("RESOLVE_LETTERS", "AND status IN ('open', 'discarded')", instead="AND false"),
    ),
    "replay forgets what runs": (
        redelivery,
        without("STAMP_OPEN", "rerun = (state = 'running')", instead="rerun = false"),
    ),
    "replay keeps counts": (redelivery, without("RESET", "attempts = 0, deaths = 0, suspect = false,")),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("control", CONTROLS)
def test_a_statement_without_its_rule_is_noticed(
    control: str, machine: type[StatementMachine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine fails as soon as one statement lacks what the protocol needs of it."""
    module, weaken = CONTROLS[control]
    monkeypatch.setattr(module, *weaken(module))

    with pytest.raises(Exception) as noticed:  # noqa: PT011 - the model's assertion, or a CHECK of the database
        run_state_machine_as_test(
            machine, settings=bounded(CONTROL_EXAMPLES, phases=[Phase.generate], report_multiple_bugs=False)
        )

    assert not isinstance(noticed.value, pytest.fail.Exception)
