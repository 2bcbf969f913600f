"""Health: whether the servers of a bus can be used, and whether workers live; asked anew, and answered without raising."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from eventbus.broker import Broker
from eventbus.errors import BrokerUnreachable, DatabaseBusy, DatabaseError, DatabaseUnreachable, WrongDatabase
from eventbus.storage import revision, workers
from eventbus.storage.database import Database
from eventbus.storage.workers import Seen


class Verdict(StrEnum):
    """What became of a question to a server."""

    OK = "ok"
    #: It answers, but not as it must: it lacks our tables, has those of another revision, or takes no writes.
    UNFIT = "unfit"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a server is."""

    verdict: Verdict
    #: A sentence for whoever must act; None when all is well.
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Health:
    """How the servers of a bus are."""

    #: PostgreSQL, with our tables.
    database: Answer
    broker: Answer

    @property
    def verdict(self) -> Verdict:
        """The worse of both."""
        verdicts = (self.database.verdict, self.broker.verdict)
        return next((bad for bad in (Verdict.UNREACHABLE, Verdict.UNFIT) if bad in verdicts), Verdict.OK)


def check(database: Database, broker: Broker) -> Health:
    """Ask both servers."""
    return Health(database=ask(lambda: _find_tables(database)), broker=ask(broker.ping))


def find_workers(database: Database, *, groups: Sequence[str] = (), host: str | None = None) -> dict[str, list[Seen]]:
    """The living workers that serve each of *groups*, or that serve any if none is named (under their own groups).

    Args:
        host: Only those that run there.
    """
    found = [worker for worker in list_workers(database) if host in (None, worker.host)]
    names = groups or sorted({group for worker in found for group in worker.groups})
    return {name: [worker for worker in found if name in worker.groups] for name in names}


def list_workers(database: Database) -> list[Seen]:
    """All living workers, by name; those that serve no group too."""
    with database.autocommit() as connection:
        return workers.list_live(connection)


def _find_tables(database: Database) -> None:
    """By the only table that all roles may read; whether it has our revision is looked at by each new process."""
    with database.autocommit() as connection:
        if connection.value(revision.READ_ONLY):
            raise WrongDatabase(
                f"PostgreSQL at {database.shown_url} is read-only, as a standby is: nothing can be published or marked done; "
                "promote it, or check EVENTBUS_DATABASE_URL."
            )


def ask(question: Callable[[], object]) -> Answer:
    """How the server is of which *question* is asked."""
    try:
        question()
    except BrokerUnreachable as error:
        return Answer(verdict=Verdict.UNFIT if error.has_refused else Verdict.UNREACHABLE, reason=str(error))
    except (DatabaseUnreachable, DatabaseBusy) as error:
        return Answer(verdict=Verdict.UNREACHABLE, reason=str(error))
    except DatabaseError as error:
        return Answer(verdict=Verdict.UNFIT, reason=str(error))
    return Answer(verdict=Verdict.OK)
