"""The errors that eventbus raises, one tree.

    EventBusError
    ├── ConfigurationError             a setting is missing or wrong
    │   ├── MissingSetting
    │   ├── InvalidSetting
    │   ├── RealtimeUnavailable        EVENTBUS_REALTIME is off, or there is no Redis
    │   └── BinaryNotFound             an embedded server has no program to run
    ├── InvalidInput (ValueError)      what the caller gave cannot be used; nothing was recorded
    │   ├── InvalidEventType
    │   ├── InvalidPattern
    │   ├── InvalidGroup
    │   ├── InvalidTime                not a time, one without offset, or since not before until
    │   ├── InvalidEvent               the data does not fit its schema, or is not JSON
    │   │   └── EventTooLarge
    │   ├── InvalidSchema              a schema class that cannot describe events
    │   │   ├── SchemaEditedInPlace    a version that is known with another wire form
    │   │   ├── SchemaNotRegistered    EVENTBUS_SCHEMA_REGISTRATION=verify, and nobody has registered it
    │   │   └── SchemaRetired          a version that nobody may publish any more
    │   ├── IncompatibleSchema         a new version would break somebody, or nobody can tell
    │   ├── UpcasterConflict           steps between versions that are no chain
    │   ├── InvalidSubscription
    │   │   └── SubscriptionConflict   two handlers of one group could claim the same event
    │   ├── UnknownEventType           EVENTBUS_STRICT_TYPES=1 and no schema is registered
    │   ├── UnknownEventVersion
    │   ├── UnknownGroup
    │   ├── UnknownEvent
    │   ├── UnknownDeadLetter
    │   ├── UnknownFingerprint
    │   ├── UnknownReplay
    │   ├── TrialNotPassed             dead letters that were retried first have not succeeded
    │   └── IdempotencyConflict        a key was used before, with other data
    ├── DatabaseError                  PostgreSQL answered, but not as it should
    │   ├── DatabaseUnreachable
    │   ├── WrongDatabase              not PostgreSQL, or too old a server
    │   ├── NotPermitted               the database's user lacks a right
    │   ├── NotMigrated                our tables are missing, or of another revision
    │   ├── DatabaseBusy               a lock or statement time limit ran out; try again
    │   │   └── PublishBusy            another publisher is using the same idempotency key
    │   └── PublishUncertain           the connection was lost while the event was committed
    ├── BrokerUnreachable
    ├── InvalidUpcast                  a step between versions failed, or gave what its version refuses
    ├── UnreachableVersion             no way leads to the version that a handler reads; the delivery is parked
    ├── ReplayStopped                  cancelled, or resumed elsewhere, before its end
    └── HandlerError                   a handler ended without an exception that Celery could carry
        ├── HandlerTimeout
        └── HandlerDied

Every message is one sentence for the reader who must act: what, where, what to do. Facts are attributes.
"""

from eventbus.errors.configuration import (
    BinaryNotFound,
    ConfigurationError,
    InvalidSetting,
    MissingSetting,
    RealtimeUnavailable,
)
from eventbus.errors.inputs import (
    EventTooLarge,
    IdempotencyConflict,
    InvalidEvent,
    InvalidEventType,
    InvalidGroup,
    InvalidInput,
    InvalidPattern,
    InvalidSchema,
    InvalidSubscription,
    InvalidTime,
    SubscriptionConflict,
    TrialNotPassed,
)
from eventbus.errors.root import EventBusError
from eventbus.errors.runs import HandlerDied, HandlerError, HandlerTimeout, ReplayStopped
from eventbus.errors.schemas import (
    IncompatibleSchema,
    InvalidUpcast,
    SchemaEditedInPlace,
    SchemaNotRegistered,
    SchemaRetired,
    UnreachableVersion,
    UpcasterConflict,
)
from eventbus.errors.servers import (
    BrokerUnreachable,
    DatabaseBusy,
    DatabaseError,
    DatabaseUnreachable,
    NotMigrated,
    NotPermitted,
    PublishBusy,
    PublishUncertain,
    WrongDatabase,
)
from eventbus.errors.unknown import (
    UnknownDeadLetter,
    UnknownEvent,
    UnknownEventType,
    UnknownEventVersion,
    UnknownFingerprint,
    UnknownGroup,
    UnknownReplay,
)

__all__ = [
    "BinaryNotFound",
    "BrokerUnreachable",
    "ConfigurationError",
    "DatabaseBusy",
    "DatabaseError",
    "DatabaseUnreachable",
    "EventBusError",
    "EventTooLarge",
    "HandlerDied",
    "HandlerError",
    "HandlerTimeout",
    "IdempotencyConflict",
    "IncompatibleSchema",
    "InvalidEvent",
    "InvalidEventType",
    "InvalidGroup",
    "InvalidInput",
    "InvalidPattern",
    "InvalidSchema",
    "InvalidSetting",
    "InvalidSubscription",
    "InvalidTime",
    "InvalidUpcast",
    "MissingSetting",
    "NotMigrated",
    "NotPermitted",
    "PublishBusy",
    "PublishUncertain",
    "RealtimeUnavailable",
    "ReplayStopped",
    "SchemaEditedInPlace",
    "SchemaNotRegistered",
    "SchemaRetired",
    "SubscriptionConflict",
    "TrialNotPassed",
    "UnknownDeadLetter",
    "UnknownEvent",
    "UnknownEventType",
    "UnknownEventVersion",
    "UnknownFingerprint",
    "UnknownGroup",
    "UnknownReplay",
    "UnreachableVersion",
    "UpcasterConflict",
    "WrongDatabase",
]

for _name in __all__:
    # Known by where users import them from: dead letters, logs and filters name them so.
    globals()[_name].__module__ = __name__
