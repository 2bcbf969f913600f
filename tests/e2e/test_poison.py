"""Events that take the process of their handler along: a dead letter with the reason, and no harm to their neighbours."""

from collections.abc import Iterator

import pytest

from eventbus import Draft
from eventbus.embedded import Servers
from tests.e2e.conftest import make_stage
from tests.e2e.stage import Stage

#: How a process can end, and what the dead letter says of it.
WAYS = {
    "kill": "its process was killed by SIGKILL",
    "segfault": "its process was killed by SIGSEGV",
    "exit": "its process exited with code 7",
}


@pytest.fixture(scope="module")
def stage(servers: Servers, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage with one worker of the group "deadly"."""
    for stage in make_stage(servers, template_database, tmp_path_factory, EVENTBUS_LEASE_SECONDS="2"):
        stage.start(groups=["deadly"], concurrency=2)
        yield stage


@pytest.mark.parametrize("way", list(WAYS))
def test_an_event_that_ends_its_process_is_a_dead_letter_after_three_deaths(stage: Stage, way: str) -> None:
    """However it does it; the reason is in the letter, and the worker goes on."""
    event = stage.publish("death.asked", {"way": way})

    details = stage.dead_letter(event, "deadly")

    assert (details.letter.attempts, details.letter.deaths) == (0, 3)
    assert details.letter.error_type == "eventbus.errors.HandlerDied"
    assert details.letter.error_message.startswith(WAYS[way])
    assert [item.kind for item in details.attempts] == ["death"] * 3
    assert len(stage.effects(event, "deadly")) == 3
    assert all(worker.is_running for worker in stage.workers)


def test_a_handler_that_hears_no_alarm_has_failed_when_its_process_is_ended(stage: Stage) -> None:
    """As any other at its time limit: an attempt, and no death."""
    event = stage.publish("death.asked", {"way": "hang"})

    details = stage.dead_letter(event, "deadly")

    assert (details.letter.attempts, details.letter.deaths) == (1, 0)
    assert details.letter.error_type == "eventbus.errors.HandlerTimeout"
    assert details.letter.error_message == (
        "the handler ran longer than its timeout of 1 s: it did not listen, and its process was ended after 3.5 s."
    )
    assert [item.kind for item in details.attempts] == ["error"]
    assert len(stage.effects(event, "deadly")) == 1
    assert all(worker.is_running for worker in stage.workers)


def test_neighbours_of_a_killer_each_get_their_run(stage: Stage) -> None:
    """Claimed in one batch with it and without a retry to spare, 49 events are handled all the same, uncharged."""
    for _ in range(3):  # the group's pace is known then, and a batch is large
        stage.bus.publish_many(Draft(type="death.asked", data={}, source="tests") for _ in range(40))
    with stage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE eventbus.consumer_group SET paused = true WHERE name = 'deadly'")
    drafts = [
        Draft(type="death.asked", data={"way": "kill"} if number == 25 else {}, source="tests") for number in range(50)
    ]
    events = stage.bus.publish_many(drafts)
    stage.change("UPDATE eventbus.consumer_group SET paused = false WHERE name = 'deadly'")

    letter = stage.dead_letter(events[25], "deadly").letter

    rows = [stage.wait_for_state(event, "deadly", "done") for event in events if event is not events[25]]
    assert letter.deaths == 3
    assert {(row.attempts, row.deaths) for row in rows} == {(0, 0)}
    claims = {row.task_id for row in rows}
    assert len(claims) < len(rows), "they were never claimed together, so the test shows nothing"
