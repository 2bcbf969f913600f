"""Attempts: each failed run is kept with its error, and counted, in one statement."""

from eventbus.failure import Failure
from eventbus.storage import runs
from eventbus.storage.claiming import Claimed
from eventbus.storage.database import Connection

ADD_ATTEMPT = f"""
WITH {runs.TALLY_RUN}
INSERT INTO eventbus.attempt (event_id, group_name, kind, number, error_type, error_message, worker)
VALUES (CAST(:event_id AS uuid), :group, :kind, :number, :error_type, :message, :worker)
"""


def add_attempt(connection: Connection, claimed: Claimed, failure: Failure, *, worker: str, state: str) -> None:
    """Keep *failure* as one more failed run of *claimed*, and count it; the delivery has the new *state*."""
    connection.change(
        ADD_ATTEMPT,
        event_id=str(claimed.event.id),
        group=claimed.group,
        kind=failure.kind,
        number=claimed.attempts + claimed.deaths + 1,
        error_type=failure.error_type,
        message=failure.message,
        worker=worker,
        type=claimed.event.type,
        failed=int(failure.kind == "error"),
        deaths=int(failure.kind == "death"),
        retries=int(state == "retrying"),
        dead=int(state == "dead"),
    )
