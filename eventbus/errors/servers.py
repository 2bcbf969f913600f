"""Errors of PostgreSQL and the broker."""

from eventbus.errors.root import EventBusError


class DatabaseError(EventBusError):
    """PostgreSQL could not do what was asked."""


class DatabaseUnreachable(DatabaseError):
    """No connection to PostgreSQL could be made, or it was lost; nothing was recorded."""


class WrongDatabase(DatabaseError):
    """The server is not a PostgreSQL that eventbus runs on."""


class NotPermitted(DatabaseError):
    """The database's user may not do this."""

    def __init__(self, where: str, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"PostgreSQL at {where} refuses: {reason}; its user needs a role that may, see 'eventbus grants'."
        )


class NotMigrated(DatabaseError):
    """The database lacks our tables, or has them in another revision than this code; ``found`` is None without them."""

    def __init__(self, found: str | None, expected: str, where: str) -> None:
        self.found, self.expected = found, expected
        if found is None:
            text = f"{where} has no eventbus tables (revision {expected} is needed): run 'eventbus migrate'"
        elif found < expected:
            text = f"{where} is at revision {found}, older than {expected} of this code: run 'eventbus migrate'"
        else:
            text = (
                f"{where} is at revision {found}, newer than {expected} of this code: upgrade eventbus in this service"
            )
        super().__init__(text + ".")


class DatabaseBusy(DatabaseError):
    """A lock or a statement took longer than its limit; nothing was recorded, and a repeat may succeed."""


class PublishBusy(DatabaseBusy):
    """Somebody else uses the idempotency key at this moment; nothing was recorded: roll back, then repeat."""


class PublishUncertain(DatabaseError):
    """The connection was lost during the commit, and PostgreSQL could not tell what became of the event.

    Unless ``idempotency_key`` is None, publish it again.
    """

    def __init__(self, type: str, idempotency_key: str | None) -> None:
        self.type, self.idempotency_key = type, idempotency_key
        repeat = f"repeat it with idempotency_key={idempotency_key!r}"
        if not idempotency_key:
            repeat = "only a publish with an idempotency_key can be repeated without a risk of recording it twice"
        super().__init__(f"the connection was lost while {type} was committed; it may be recorded or not: {repeat}.")


class BrokerUnreachable(EventBusError):
    """The broker could not be reached; deliveries are safe in PostgreSQL and follow when it is back."""

    #: It answers, but takes no messages: its memory is full, it is a replica, or the password is wrong.
    has_refused = False
