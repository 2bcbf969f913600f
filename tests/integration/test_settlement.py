"""Settling: how a run ends becomes the delivery's state, under its claim and at no other time."""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
import sqlalchemy
from marshmallow import Schema

from eventbus import Event, EventBus
from eventbus.failure import from_death, from_exception
from eventbus.lifecycle import settlement
from eventbus.lifecycle.settlement import Dead, Done, Fenced, Retrying
from eventbus.retry import RetryPolicy
from eventbus.storage import claiming, dead_letters, settling
from eventbus.storage.claiming import Claimed
from eventbus.storage.database import Connection, Database
from tests.integration.conftest import MakeWorker
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns

PAST = "UPDATE eventbus.delivery SET due_at = clock_timestamp() - interval '1 second'"
ONCE = RetryPolicy(max_retries=0)
OFTEN = RetryPolicy(max_retries=9, backoff=timedelta(seconds=8))
STATE = "SELECT state, attempts, deaths, suspect, rerun, claim, started_at, last_error FROM eventbus.delivery"

ran: list[Event] = []


def handle(event: Event) -> None:
    ran.append(event)


def fail(event: Event) -> None:
    raise KeyError("sku")


@pytest.fixture
def execution(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker of the group ``a``, whose handler notes its events, and ``b``, whose handler fails."""
    ran.clear()
    bus.subscribe("#", group="a", handler=handle)
    bus.subscribe("#", group="b", handler=fail, max_retries=1, backoff=timedelta(seconds=8))
    return worker()


@pytest.fixture
def claimed(bus: EventBus, execution: SingleRuns) -> Claimed:
    """A delivery of group ``a`` that this worker holds."""
    event = bus.publish("order.created", 1, source="orders")
    found = execution.take("a", event.id, task_id=None)
    assert found is not None
    return found


def take(execution: SingleRuns, group: str) -> Claimed:
    """The group's due delivery."""
    found = execution.take(group, None, task_id=None)
    assert found is not None
    return found


def state_of(rows: Rows, group: str = "a") -> dict[str, Any]:
    """The only delivery of a group."""
    [event_id] = rows.one("SELECT event_id FROM eventbus.delivery WHERE group_name = %s", group)
    return rows.delivery(event_id, group)


def test_a_handler_that_returns_is_done(execution: SingleRuns, claimed: Claimed, rows: Rows) -> None:
    """Handled once, claim released, finished."""
    outcome = execution.run(claimed)

    row = state_of(rows)
    assert outcome == Done()
    assert ran == [claimed.event]
    assert (row["state"], row["attempts"], row["claim"], row["last_error"]) == ("done", 0, None, None)
    assert row["finished_at"] is not None


def test_a_handler_that_fails_leaves_the_settling_to_its_caller(
    execution: SingleRuns, bus: EventBus, rows: Rows
) -> None:
    """Celery's autoretry decides that it is retried; nothing is charged before."""
    bus.publish("order.created", 1, source="orders")

    result = execution.run(take(execution, "b"))

    assert isinstance(result, KeyError)
    assert (state_of(rows, "b")["state"], state_of(rows, "b")["attempts"]) == ("running", 0)


def test_failures_are_retried_then_dead(execution: SingleRuns, bus: EventBus, rows: Rows) -> None:
    """max_retries=1 is two runs, each with an attempt on record, then one dead letter that counts both."""
    bus.publish("order.created", 1, source="orders")

    first = execution.fail(take(execution, "b"), KeyError("sku"))
    retrying = state_of(rows, "b")
    wait = rows.value("SELECT due_at - clock_timestamp() FROM eventbus.delivery WHERE group_name = 'b'")
    rows.all(PAST)
    second = execution.fail(take(execution, "b"), KeyError("sku"))
    dead = state_of(rows, "b")

    assert isinstance(first, Retrying)
    assert first.attempts == 1
    assert timedelta(0) <= first.wait <= timedelta(seconds=8)
    assert first.wait - timedelta(seconds=2) < wait <= first.wait
    assert (retrying["state"], retrying["attempts"], retrying["last_error"]) == ("retrying", 1, "KeyError: 'sku'")
    assert (retrying["claim"], retrying["finished_at"]) == (None, None)
    assert (dead["state"], dead["attempts"], dead["claim"]) == ("dead", 2, None)
    letter = rows.one("SELECT id, attempts, deaths, error_type, status FROM eventbus.dead_letter")
    assert second == Dead(letter_id=letter[0])
    assert letter[1:] == (2, 0, "KeyError", "open")
    assert rows.all("SELECT kind, number, error_type, worker, dead_letter_id FROM eventbus.attempt ORDER BY id") == [
        ("error", 1, "KeyError", "worker-1", letter[0]),
        ("error", 2, "KeyError", "worker-1", letter[0]),
    ]


def test_an_error_worth_no_retry_is_dead_at_once(claimed: Claimed, database: Database, rows: Rows) -> None:
    """Retries are not wasted on what they cannot mend."""
    policy = RetryPolicy(give_up_on=(LookupError,))

    outcome = settlement.settle_failed(database, claimed, KeyError("sku"), policy=policy, worker="w")

    assert isinstance(outcome, Dead)
    assert state_of(rows)["state"] == "dead"


def test_deaths_are_counted_apart_from_attempts(execution: SingleRuns, claimed: Claimed, rows: Rows) -> None:
    """A suspect's start is committed before its handler runs; an ended lease after that is a death, charged once, never run."""
    rows.all(PAST)
    suspect = take(execution, "a")
    assert execution._commit_start(suspect)
    rows.all(PAST)
    found = take(execution, "a")

    outcome = execution.run(found)

    row = state_of(rows)
    assert (suspect.died, found.died) == (False, True)
    assert isinstance(outcome, Retrying)
    assert ran == []
    assert (row["state"], row["attempts"], row["deaths"], row["started_at"]) == ("retrying", 0, 1, None)
    assert rows.all("SELECT kind, number FROM eventbus.attempt") == [("death", 1)]
    assert "the worker died while the handler ran" in row["last_error"]


def test_a_death_that_two_find_is_charged_once(execution: SingleRuns, claimed: Claimed, rows: Rows) -> None:
    """The first finder may be slow, not dead: the one who took over settles, the other changes nothing."""
    execution._commit_start(claimed)
    rows.all(PAST)
    slow = take(execution, "a")
    rows.all(PAST)
    quick = take(execution, "a")

    outcomes = [execution.run(quick), execution.run(slow)]

    assert [type(outcome) for outcome in outcomes] == [Retrying, Fenced]
    assert state_of(rows)["deaths"] == 1
    assert rows.count("attempt") == 1


def test_a_suspect_runs_with_its_start_on_record_and_is_cleared_by_success(
    execution: SingleRuns, claimed: Claimed, rows: Rows, bus: EventBus
) -> None:
    """If it kills its process, somebody will know; if not, it is like any other."""
    rows.all(PAST)
    suspect = take(execution, "a")
    seen: list[Any] = []
    subscription = execution.subscription(suspect)
    watching = SingleRuns(
        database=execution.database,
        known=type(execution.known)(
            by_group={
                "a": {suspect.subscription_id: _with_handler(subscription, lambda e: seen.append(state_of(rows)))}
            }
        ),
        reading=execution.reading,
        lease=execution.lease,
        worker="w",
    )

    outcome = watching.run(suspect)

    assert outcome == Done()
    assert seen[0]["started_at"] is not None
    assert (state_of(rows)["suspect"], state_of(rows)["started_at"]) == (False, None)


def _with_handler(subscription: Any, handler: Callable[[Event], Any]) -> Any:
    values = {**vars(subscription), "handler": handler}
    return type(subscription)(**values)


@pytest.mark.parametrize(("deaths", "outcome"), [(0, Retrying), (1, Retrying), (2, Dead)])
def test_poison_is_dead_after_a_bounded_number_of_deaths(
    deaths: int, outcome: type, claimed: Claimed, database: Database, rows: Rows
) -> None:
    """Three deaths, whatever max_retries is; the letter counts them."""
    rows.all("UPDATE eventbus.delivery SET deaths = %s WHERE group_name = 'a'", deaths)
    held = Claimed(**{**vars(claimed), "deaths": deaths})

    found = settlement.settle_died(database, held, "it died", policy=ONCE, worker="w")

    assert type(found) is outcome
    assert state_of(rows)["deaths"] == deaths + 1
    assert rows.all("SELECT attempts, deaths FROM eventbus.dead_letter") == ([(0, 3)] if outcome is Dead else [])


@pytest.mark.parametrize(("deaths", "waits"), [(0, False), (1, True)])
def test_the_first_death_costs_no_time_and_the_second_does(
    deaths: int, waits: bool, claimed: Claimed, database: Database
) -> None:
    """Most are not the event's fault; what kills its process again must not do it as fast as processes start."""
    held = Claimed(**{**vars(claimed), "deaths": deaths})

    outcome = settlement.settle_died(database, held, "it died", policy=RetryPolicy(), worker="w")

    assert isinstance(outcome, Retrying)
    assert (outcome.wait > timedelta()) is waits


def settlings(database: Database, claimed: Claimed) -> dict[str, Callable[[], Any]]:
    """Every way to change a delivery that is held."""

    def change(function: Callable[..., Any], **options: Any) -> Callable[[], Any]:
        def run() -> Any:
            with database.transaction() as connection:
                return function(connection, claimed, **options)

        return run

    return {
        "mark_done": change(settling.mark_done),
        "mark_retrying": change(settling.mark_retrying, wait=timedelta(0), error="e", attempts=1, deaths=0),
        "mark_dead": change(settling.mark_dead, error="e", attempts=1, deaths=0),
        "give_back": change(give_back),
        "mark_many_done": change(mark_many_done),
        "renew": change(renew),
        "commit_start": change(claiming.commit_start, lease=timedelta(seconds=9)),
        "done": lambda: settlement.settle_done(database, claimed),
        "retry": lambda: settlement.settle_failed(database, claimed, KeyError(), policy=OFTEN, worker="w"),
        "dead": lambda: settlement.settle_failed(database, claimed, KeyError(), policy=ONCE, worker="w"),
        "died": lambda: settlement.settle_died(database, claimed, "it died", policy=OFTEN, worker="w"),
        "found failed": lambda: settlement.settle_found_failed(database, claimed, "E: m", policy=ONCE, worker="w"),
    }


def give_back(connection: Connection, claimed: Claimed) -> bool:
    """Whether the delivery was given back."""
    return claimed.event.id in settling.give_back(
        connection, [claimed.event.id], group=claimed.group, claim=claimed.claim
    )


def mark_many_done(connection: Connection, claimed: Claimed) -> str | None:
    """The new state of the delivery, if it was marked."""
    found = settling.mark_many_done(connection, [claimed.event], group=claimed.group, claim=claimed.claim)
    return found.get(claimed.event.id)


def renew(connection: Connection, claimed: Claimed) -> bool:
    """Whether the lease of the delivery was renewed."""
    count = settling.renew(
        connection, [claimed.event.id], group=claimed.group, claim=claimed.claim, lease=timedelta(seconds=9)
    )
    return count == 1


WAYS = [
    "mark_done", "mark_many_done", "mark_retrying", "mark_dead", "give_back", "renew", "commit_start", "done", "retry", "dead",
    "died", "found failed",
]  # fmt: skip


@pytest.mark.parametrize("taken", ["by another claim", "given back", "settled", "cancelled"])
@pytest.mark.parametrize("way", WAYS)
def test_whoever_lost_the_claim_changes_nothing(
    way: str, taken: str, execution: SingleRuns, claimed: Claimed, rows: Rows
) -> None:
    """A zombie whose lease ran out neither settles, charges, writes a letter nor gives back."""
    if taken == "by another claim":
        rows.all(PAST)
        take(execution, "a")
    elif taken == "cancelled":
        rows.all("UPDATE eventbus.delivery SET state = 'cancelled', finished_at = now(), claim = NULL")
    else:
        settlings(execution.database, claimed)["give_back" if taken == "given back" else "done"]()
    before = state_of(rows)

    outcome = settlings(execution.database, claimed)[way]()

    assert outcome in (False, None, Fenced())
    assert state_of(rows) == before
    assert (rows.count("attempt"), rows.count("dead_letter")) == (0, 0)


@pytest.mark.parametrize("way", WAYS)
def test_whoever_holds_the_claim_settles_even_after_the_lease_ended(
    way: str, execution: SingleRuns, claimed: Claimed, rows: Rows
) -> None:
    """While nobody has taken over, the work counts."""
    rows.all(PAST)

    outcome = settlings(execution.database, claimed)[way]()

    assert outcome not in (False, None, Fenced())


def test_a_suspect_that_was_taken_over_is_not_run(execution: SingleRuns, claimed: Claimed, rows: Rows) -> None:
    """Its start cannot be committed, so its handler is not called."""
    rows.all(PAST)
    suspect = take(execution, "a")
    rows.all(PAST)
    take(execution, "a")

    outcome = execution.run(suspect)

    assert outcome == Fenced()
    assert ran == []


def test_a_run_that_was_taken_over_while_it_ran_does_not_count(
    execution: SingleRuns, claimed: Claimed, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    """The one who has the claim now settles; the log says what happened."""
    rows.all(PAST)
    other = take(execution, "a")

    outcome = execution.run(claimed)

    assert outcome == Fenced()
    assert state_of(rows)["claim"] == other.claim
    assert [record.levelno for record in caplog.records if record.message == "delivery_fenced"] == [logging.WARNING]


def test_dead_letter_state_and_attempt_are_one_transaction(claimed: Claimed, database: Database, rows: Rows) -> None:
    """If the letter cannot be written, the delivery is not dead and no attempt is on record."""
    rows.all("ALTER TABLE eventbus.dead_letter ADD CONSTRAINT refuse CHECK (false)")
    before = state_of(rows)

    with pytest.raises(sqlalchemy.exc.IntegrityError, match="refuse"):
        settlement.settle_failed(database, claimed, KeyError("sku"), policy=ONCE, worker="w")

    assert state_of(rows) == before
    assert (rows.count("attempt"), rows.count("dead_letter")) == (0, 0)


def test_a_retry_and_its_attempt_are_one_transaction(claimed: Claimed, database: Database, rows: Rows) -> None:
    """No run is charged without a record of its error."""
    rows.all("ALTER TABLE eventbus.attempt ADD CONSTRAINT refuse CHECK (false)")
    before = state_of(rows)

    with pytest.raises(sqlalchemy.exc.IntegrityError, match="refuse"):
        settlement.settle_failed(database, claimed, KeyError("sku"), policy=OFTEN, worker="w")

    assert state_of(rows) == before


@pytest.mark.parametrize(
    ("way", "outcome"), [("done", Done(again=True)), ("dead", Dead(letter_id=None)), ("retry", Retrying)]
)
def test_what_was_replayed_while_it_ran_runs_once_more(
    way: str, outcome: Any, claimed: Claimed, database: Database, rows: Rows
) -> None:
    """As if new after done or dead, and without a dead letter; a retry is its next run anyway."""
    rows.all(
        "UPDATE eventbus.delivery SET rerun = true, suspect = true, attempts = 2, deaths = 1 WHERE group_name = 'a'"
    )

    found = settlings(database, claimed)[way]()

    row = state_of(rows)
    assert found == outcome or isinstance(found, Retrying)
    assert (row["rerun"], row["claim"], row["finished_at"]) == (False, None, None)
    if way == "retry":
        assert (row["state"], row["attempts"], row["deaths"]) == ("retrying", 3, 1)
    else:
        assert (row["state"], row["attempts"], row["deaths"], row["suspect"]) == ("pending", 0, 0, False)
    assert rows.count("dead_letter") == 0


def test_any_failure_can_be_recorded(claimed: Claimed, database: Database, rows: Rows) -> None:
    """NUL characters and lone surrogates in an error do not keep the delivery from being settled."""
    odd = type("Odd\ufffe", (Exception,), {"__module__": "a\x00b"})

    outcome = settlement.settle_failed(database, claimed, odd("\x00\ud800\n" + "x" * 10_000), policy=ONCE, worker="w")

    assert isinstance(outcome, Dead)
    assert rows.value("SELECT length(error_message) FROM eventbus.dead_letter") == 4000


def test_settling_dead_twice_writes_one_letter(claimed: Claimed, database: Database, rows: Rows) -> None:
    """The nets behind the task may catch what the task has settled already."""
    failure = from_exception(KeyError("sku"))

    first = settlement.settle_dead(database, claimed, failure, worker="w")
    second = settlement.settle_dead(database, claimed, failure, worker="w")

    assert isinstance(first, Dead)
    assert second == Fenced()
    assert rows.count("dead_letter") == 1


@pytest.mark.parametrize(
    ("way", "message", "level"),
    [
        ("done", "delivery_done", logging.INFO),
        ("retry", "delivery_retrying", logging.WARNING),
        ("dead", "delivery_dead", logging.ERROR),
    ],
)
def test_every_outcome_is_logged_with_its_facts(
    way: str, message: str, level: int, claimed: Claimed, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Event, type, group and correlation id: enough to follow a story through the logs."""
    with caplog.at_level(level, logger="eventbus"):
        settlings(database, claimed)[way]()

    [record] = [item for item in caplog.records if item.message == message]
    facts = (record.event_id, record.type, record.group, record.correlation_id)
    assert facts == (str(claimed.event.id), "order.created", "a", claimed.event.correlation_id)
    assert record.levelno == level


def test_a_death_can_be_settled_as_dead(claimed: Claimed, database: Database, rows: Rows) -> None:
    """The letter says that it was a death."""
    settlement.settle_dead(database, claimed, from_death("the machine is gone"), worker="w")

    assert rows.one("SELECT attempts, deaths, error_type FROM eventbus.dead_letter") == (
        0,
        1,
        "eventbus.errors.HandlerDied",
    )


def a_replay(column: str, value: str, *, filter: str = "{}", total: int = 1) -> str:
    """An INSERT of a replay with one column set."""
    return (
        f"INSERT INTO eventbus.replay (id, group_name, filter, include_dead, total, cursor, last_id, requested_by, {column}) "
        f"VALUES (gen_random_uuid(), 'a', '{filter}', false, {total}, gen_random_uuid(), gen_random_uuid(), 'x', {value})"
    )


def a_worker(column: str, value: str) -> str:
    """An INSERT of a worker with one column set."""
    values = {"pid": "1", "seen_at": "now() + interval '1 h'", column: value}
    return (
        "INSERT INTO eventbus.worker (id, name, host, pool, concurrency, version, groups, pid, seen_at) "
        f"VALUES (gen_random_uuid(), 'w', 'h', 'solo', 1, '0', '{{}}', {values['pid']}, {values['seen_at']})"
    )


ILLEGAL = [
    (
        "audit_filter_check",
        "INSERT INTO eventbus.audit (who, action, filter, asked, changed, result) VALUES ('w', 'x', '[]', 0, 0, 'began')",
    ),
    (
        "audit_counts_check",
        "INSERT INTO eventbus.audit (who, action, filter, asked, changed, result) VALUES ('w', 'x', '{}', -1, 0, 'began')",
    ),
    (
        "audit_ended_check",
        "INSERT INTO eventbus.audit (who, action, filter, asked, changed, result) VALUES ('w', 'x', '{}', 0, 0, 'done')",
    ),
    (
        "repair_counts_check",
        "INSERT INTO eventbus.repair (group_name, wake_ups, hour, in_hour) VALUES ('a', 0, now(), 1)",
    ),
    ("fingerprint_state_check", "UPDATE eventbus.fingerprint SET state = 'odd'"),
    ("fingerprint_occurrences_check", "UPDATE eventbus.fingerprint SET occurrences = 0"),
    ("fingerprint_occurrences_check", "UPDATE eventbus.fingerprint SET news_occurrence = 2"),
    ("fingerprint_seen_check", "UPDATE eventbus.fingerprint SET last_seen_at = first_seen_at - interval '1 s'"),
    ("alert_kind_check", "UPDATE eventbus.alert SET kind = 'odd'"),
    ("alert_attempts_check", "UPDATE eventbus.alert SET attempts = -1"),
    ("alert_result_check", "UPDATE eventbus.alert SET ended_at = now(), result = 'odd'"),
    ("alert_ended_check", "UPDATE eventbus.alert SET ended_at = now()"),
    ("alert_ended_check", "UPDATE eventbus.alert SET result = 'sent'"),
    ("run_tally_counts_check", "INSERT INTO eventbus.run_tally VALUES (1, 'a', 'g', 0, 0, 0, -1)"),
    ("run_duration_counts_check", "INSERT INTO eventbus.run_duration VALUES ('g', 'a', '{1}', 0)"),
    ("run_minute_counts_check", "INSERT INTO eventbus.run_minute VALUES (now(), 'g', '{1}', 0)"),
    ("delivery_pending_check", "UPDATE eventbus.delivery SET state = 'pending', claim = NULL, suspect = true"),
    (
        "publish_key_key_check",
        "INSERT INTO eventbus.publish_key (source, key, event_id, digest, created_at) "
        "VALUES ('x', '', gen_random_uuid(), sha256(''), now())",
    ),
    (
        "publish_key_digest_check",
        "INSERT INTO eventbus.publish_key (source, key, event_id, digest, created_at) "
        "VALUES ('x', 'k', gen_random_uuid(), 'short', now())",
    ),
    ("worker_pid_check", a_worker("pid", "0")),
    ("worker_seen_check", a_worker("seen_at", "now() - interval '1 h'")),
    ("traffic_counts_check", "INSERT INTO eventbus.traffic VALUES (now(), 'a', '', -1, 0)"),
    ("traffic_group_name_check", "INSERT INTO eventbus.traffic VALUES (now(), 'a', 'g', 1, 0)"),
    ("traffic_total_counts_check", "INSERT INTO eventbus.traffic_total VALUES ('a', 'g', 0, -1)"),
    ("traffic_total_group_name_check", "INSERT INTO eventbus.traffic_total VALUES ('a', '', 0, 1)"),
    ("traffic_tally_consumed_check", "INSERT INTO eventbus.traffic_tally VALUES (1, now(), 'a', 'g', 0)"),
    ("traffic_span_ended_check", "INSERT INTO eventbus.traffic_span VALUES (now(), now(), '{}')"),
    ("replay_state_check", a_replay("state", "'odd'")),
    ("replay_finished_check", a_replay("finished_at", "now()")),
    ("replay_runner_check", a_replay("runner", "1")),
    ("replay_rate_check", a_replay("rate", "0")),
    ("replay_filter_check", a_replay("rate", "1", filter="[]")),
    ("replay_counts_check", a_replay("rate", "1", total=-1)),
    ("delivery_state_check", "UPDATE eventbus.delivery SET state = 'odd', claim = NULL"),
    ("delivery_finished_check", "UPDATE eventbus.delivery SET state = 'done', claim = NULL"),
    ("delivery_finished_check", "UPDATE eventbus.delivery SET finished_at = now()"),
    ("delivery_claim_check", "UPDATE eventbus.delivery SET claim = NULL"),
    ("delivery_claim_check", "UPDATE eventbus.delivery SET state = 'pending'"),
    ("delivery_started_check", "UPDATE eventbus.delivery SET state = 'pending', claim = NULL, started_at = now()"),
    ("delivery_rerun_check", "UPDATE eventbus.delivery SET state = 'pending', claim = NULL, rerun = true"),
    ("delivery_counts_check", "UPDATE eventbus.delivery SET attempts = -1"),
    ("delivery_counts_check", "UPDATE eventbus.delivery SET deaths = -1"),
    ("_pkey", "INSERT INTO eventbus.delivery SELECT * FROM eventbus.delivery"),
    ("event_log_type_check", "UPDATE eventbus.event_log SET type = ''"),
    ("event_log_version_check", "UPDATE eventbus.event_log SET version = 0"),
    ("event_log_metadata_check", "UPDATE eventbus.event_log SET metadata = '{}'"),
    ("consumer_group_name_check", "INSERT INTO eventbus.consumer_group (name, queue) VALUES ('A', 'q')"),
    ("consumer_group_pkey", "INSERT INTO eventbus.consumer_group (name, queue) VALUES ('a', 'q')"),
    ("event_schema_type_check", "UPDATE eventbus.event_schema SET type = ''"),
    ("event_schema_version_check", "UPDATE eventbus.event_schema SET version = 0"),
    ("event_schema_document_check", "UPDATE eventbus.event_schema SET json_schema = '[]'"),
    ("event_schema_fingerprint_check", "UPDATE eventbus.event_schema SET wire_fingerprint = 'short'"),
    ("event_schema_compatibility_check", "UPDATE eventbus.event_schema SET compatibility = 'SOME'"),
    ("event_schema_accepted_check", "UPDATE eventbus.event_schema SET accepted = '{}'"),
    ("subscription_version_check", "UPDATE eventbus.subscription SET version = 0"),
    (
        "subscription_group_name_pattern_key",
        "INSERT INTO eventbus.subscription (group_name, pattern, handler, policy) VALUES ('a', '#', 'h', '{}')",
    ),
    (
        "subscription_group_name_fkey",
        "INSERT INTO eventbus.subscription (group_name, pattern, handler, policy) VALUES ('x', '#', 'h', '{}')",
    ),
    ("attempt_kind_check", "UPDATE eventbus.attempt SET kind = 'odd'"),
    ("attempt_number_check", "UPDATE eventbus.attempt SET number = 0"),
    ("dead_letter_status_check", "UPDATE eventbus.dead_letter SET status = 'odd', resolved_at = now()"),
    ("dead_letter_resolved_check", "UPDATE eventbus.dead_letter SET status = 'retried'"),
    ("dead_letter_resolved_check", "UPDATE eventbus.dead_letter SET resolved_at = now()"),
    ("dead_letter_note_check", "UPDATE eventbus.dead_letter SET status = 'discarded', resolved_at = now()"),
    (
        "dead_letter_open_key",
        "INSERT INTO eventbus.dead_letter (event_id, group_name, type, attempts, deaths, error_type, error_message, "
        "traceback, fingerprint) SELECT event_id, group_name, type, 1, 0, '', '', '', '' FROM eventbus.dead_letter",
    ),
]


@pytest.fixture
def one_of_each(execution: SingleRuns, bus: EventBus, claimed: Claimed) -> None:
    """A row in each table: a running delivery of group ``a``, and a dead one of group ``b``."""
    held = take(execution, "b")
    settlement.settle_failed(execution.database, held, KeyError("sku"), policy=ONCE, worker="w")
    bus.register_schema("order.shipped", 1, Schema)
    bus.sync()


@pytest.mark.parametrize(("constraint", "statement"), ILLEGAL)
def test_the_database_refuses_illegal_rows(constraint: str, statement: str, one_of_each: None, rows: Rows) -> None:
    """Whatever code is wrong one day, the tables stay true; the constraint says which rule was broken."""
    if statement.startswith("UPDATE eventbus.delivery"):
        statement += " WHERE group_name = 'a'"

    with pytest.raises(psycopg2.IntegrityError) as caught:
        rows.all(statement)

    assert (caught.value.diag.constraint_name or "").endswith(constraint)


def test_every_named_check_has_a_row_that_it_refuses(rows: Rows) -> None:
    """A rule without such a row above would be a rule nobody has seen work."""
    named = rows.all(
        "SELECT conname FROM pg_constraint AS c JOIN pg_class AS r ON r.oid = c.conrelid "
        "WHERE c.connamespace = 'eventbus'::regnamespace AND c.contype = 'c' AND NOT r.relispartition"
    )

    assert {name for (name,) in named} <= {constraint for constraint, _ in ILLEGAL}


def test_letters_of_one_delivery_keep_their_own_attempts(execution: SingleRuns, bus: EventBus, rows: Rows) -> None:
    """A second life's letter shows the runs of that life only."""
    bus.publish("order.created", 1, source="orders")
    for _ in range(2):
        for _ in range(2):
            rows.all(f"{PAST} WHERE finished_at IS NULL")
            execution.fail(take(execution, "b"), KeyError("sku"))
        bus.retry_dead_letters(group="b")

    with bus.database.autocommit() as connection:
        letters = dead_letters.list_letters(connection, dead_letters.Filter(), status=None, before=None, limit=10)
        numbers = [[attempt.number for attempt in dead_letters.list_attempts(connection, item)] for item in letters]

    assert [item.attempts for item in letters] == [2, 2]
    assert numbers == [[1, 2], [1, 2]]
    assert rows.count("attempt") == 4
