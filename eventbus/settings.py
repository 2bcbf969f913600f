"""Settings: one frozen object, read once from arguments, the environment and Celery's configuration, in that order.

Passwords in URLs never reach a log or an error: URLs are left out of ``repr`` and shown through `without_password`.
"""

import base64
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from eventbus.errors import ConfigurationError, InvalidSetting, MissingSetting
from eventbus.urls import REDIS_SCHEMES, encoding_hint, has_address, is_redis_url, scheme, without_password

#: Of a secret whose key is the base64 behind it.
KEY_PREFIX = "whsec_"
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_REDACTED = re.compile(r"(?:data|metadata)(?:\.[^.,\s]+)+")
#: What a URL is made of, as it is sent.
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,62}")


class Realtime(StrEnum):
    """What publish() PUBLISHes to the real-time channel."""

    FULL = "full"  #: the whole event as JSON
    IDS = "ids"  #: id and type only
    OFF = "off"  #: nothing


class SchemaRegistration(StrEnum):
    """What a service that starts does with the schemas in PostgreSQL."""

    REGISTER = "register"  #: writes its own, if they are compatible
    VERIFY = "verify"  #: writes nothing, and refuses to start with one that is not there
    OFF = "off"  #: neither reads nor writes them


class AlertFormat(StrEnum):
    """What the alerts' webhook takes."""

    JSON = "json"  #: our own format
    SLACK = "slack"  #: a message for Slack


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a process of the bus needs to know; the environment names each field EVENTBUS_<FIELD>."""

    #: SQLAlchemy URL of PostgreSQL (``postgresql://`` means psycopg2).
    database_url: str = field(repr=False)
    #: Celery's broker URL.
    broker_url: str = field(repr=False)
    #: Redis URL of the real-time channels; the broker's, if that is a Redis.
    realtime_url: str | None = field(default=None, repr=False)
    realtime: Realtime = Realtime.FULL
    #: PostgreSQL schema of our tables.
    schema: str = "eventbus"
    #: Queues and tasks are called ``<prefix>.<group>``.
    prefix: str = "eventbus"
    max_event_bytes: int = 1 << 20
    #: How long a claimed delivery belongs to its worker without a sign of life.
    lease: timedelta = timedelta(seconds=30)
    #: How long a publish waits for PostgreSQL's answer before it takes the connection for lost.
    publish_limit: timedelta = timedelta(seconds=15)
    #: Refuse events whose type has no registered schema.
    strict_types: bool = False
    #: What starting does with the schemas in PostgreSQL.
    schema_registration: SchemaRegistration = SchemaRegistration.REGISTER
    #: Use prepared statements; off behind a transaction-pooling proxy.
    prepare: bool = True
    #: What no view of an event shows: paths such as ``data.customer.email``.
    redact: tuple[str, ...] = ()
    #: The webhook that is told of causes of dead letters that are new or have returned; it may itself be a secret.
    alert_url: str | None = field(default=None, repr=False)
    #: What its messages are signed with.
    alert_secret: str | None = field(default=None, repr=False)
    alert_format: AlertFormat = AlertFormat.JSON
    #: Between two messages to it.
    alert_pause: timedelta = timedelta(seconds=30)

    def queue(self, group: str) -> str:
        """The Celery queue, and task name, of *group*."""
        return f"{self.prefix}.{group}"

    def channel(self, type: str) -> str:
        """The Redis channel to which events of *type* are PUBLISHed."""
        return f"events:{type}" if self.prefix == "eventbus" else f"{self.prefix}:events:{type}"


def load_settings(
    arguments: Mapping[str, Any], environment: Mapping[str, str] = os.environ, celery: Mapping[str, Any] | None = None
) -> Settings:
    """Settings from *arguments*, else EVENTBUS_* in *environment*, else ``eventbus_*`` in *celery*'s configuration.

    Raises:
        MissingSetting: No database URL or no broker URL was found.
        InvalidSetting: A value cannot be used.
        ConfigurationError: An argument names no setting.
    """
    for name in arguments:
        if name not in _READERS:
            raise ConfigurationError(f"{name!r} is no setting: those that exist are {', '.join(_READERS)}.")
    given = {name: _find(name, arguments, environment, celery or {}) for name in _READERS}
    values = {name: _READERS[name](_shown_name(name), value) for name, value in given.items() if value is not None}
    for name, field_name in {
        "lease_seconds": "lease",
        "publish_seconds": "publish_limit",
        "alert_seconds": "alert_pause",
    }.items():
        if name in values:
            values[field_name] = values.pop(name)
    if "database_url" not in values:
        raise MissingSetting("EVENTBUS_DATABASE_URL", "the PostgreSQL database, as postgresql://user@host:5432/name")
    if "broker_url" not in values:
        raise MissingSetting("EVENTBUS_BROKER_URL", "Celery's broker, as redis://host:6379/0")
    if "realtime_url" not in values and scheme(values["broker_url"]) in REDIS_SCHEMES:
        values["realtime_url"] = values["broker_url"].partition(";")[0]
    return Settings(**values)


def _find(name: str, arguments: Mapping[str, Any], environment: Mapping[str, str], celery: Mapping[str, Any]) -> Any:
    if arguments.get(name) is not None:
        return arguments[name]
    return environment.get(_shown_name(name)) or celery.get(f"eventbus_{name}")


def _shown_name(name: str) -> str:
    return f"EVENTBUS_{name.upper()}"


def _database_url(name: str, value: Any) -> str:
    url = str(value).strip()  # a file from which it comes often ends with a line end
    if scheme(url) not in ("postgresql", "postgres", "postgresql+psycopg2") or not has_address(url):
        raise InvalidSetting(name, without_password(url), "a PostgreSQL URL such as postgresql://user@host:5432/name")
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", url)


def _broker_url(name: str, value: Any) -> str:
    url = str(value).strip()
    # Other brokers than Redis have URLs of their own kind.
    if not scheme(url) or (scheme(url) in REDIS_SCHEMES and not is_redis_url(url.partition(";")[0])):
        expected = f"a broker URL such as redis://host:6379/0{encoding_hint(url)}"
        raise InvalidSetting(name, without_password(url), expected)
    return url


def _redis_url(name: str, value: Any) -> str:
    url = str(value).strip()
    if not is_redis_url(url):
        expected = f"a Redis URL such as redis://host:6379/0{encoding_hint(url)}"
        raise InvalidSetting(name, without_password(url), expected)
    return url


def _alert_url(name: str, value: Any) -> str:
    url = str(value).strip()
    is_address = scheme(url) in ("http", "https") and has_address(url) and _VISIBLE.fullmatch(url) is not None
    if not is_address or "@" in urlsplit(url).netloc:  # a user's name would be taken for a part of the host's
        # Not even a part of it is shown: the path of many webhooks is their secret.
        raise InvalidSetting(
            name, "***", "an http or https URL without a user, such as https://hooks.example.com/eventbus"
        )
    return url


def _alert_secret(name: str, value: Any) -> str:
    secret = str(value).strip()  # a file from which it comes often ends with a line end
    if not secret:
        raise InvalidSetting(name, "***", "a text that only you and the receiver know")
    if secret.startswith(KEY_PREFIX):
        try:
            base64.b64decode(secret.removeprefix(KEY_PREFIX), validate=True)
        except ValueError:  # receivers could make nothing of it, and would refuse every message
            raise InvalidSetting(name, "***", f"base64 behind {KEY_PREFIX}, or a text that begins otherwise") from None
    return secret


def _one_of(choices: type[StrEnum], expected: str) -> Callable[[str, Any], StrEnum]:
    def read(name: str, value: Any) -> StrEnum:
        try:
            return choices(str(value).lower())
        except ValueError:
            raise InvalidSetting(name, str(value), expected) from None

    return read


def _matching(pattern: re.Pattern[str], expected: str) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        if not pattern.fullmatch(str(value)):
            raise InvalidSetting(name, str(value), expected)
        return str(value)

    return read


def _max_event_bytes(name: str, value: Any) -> int:
    try:
        size = 0 if isinstance(value, bool) or int(value) != float(value) else int(value)
    except (TypeError, ValueError, OverflowError):
        size = 0
    if not 1 <= size <= 100 << 20:
        raise InvalidSetting(name, f"{value!s:.60}", "a whole number of bytes from 1 to 104857600")
    return size


def _seconds(name: str, value: Any) -> timedelta:
    try:
        seconds = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = 0.0
    if not 1 <= seconds <= 3600:
        raise InvalidSetting(name, f"{value!s:.60}", "a number of seconds from 1 to 3600")
    return timedelta(seconds=seconds)


def _switch(name: str, value: Any) -> bool:
    text = str(value).lower()
    if text not in ("0", "1", "true", "false"):
        raise InvalidSetting(name, str(value), "0 or 1")
    return text in ("1", "true")


def _paths(name: str, value: Any) -> tuple[str, ...]:
    given = value.split(",") if isinstance(value, str) else value
    paths = tuple(str(path).strip() for path in given) if isinstance(given, Iterable) else ("",)
    if not all(_REDACTED.fullmatch(path) for path in paths):
        raise InvalidSetting(
            name, f"{value!s:.60}", "paths such as data.customer.email,data.items.*.note,metadata.headers.token"
        )
    return paths


def _schema(name: str, value: Any) -> str:
    from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS  # noqa: PLC0415 - loaded by whoever goes there

    expected = "a lower-case SQL identifier of at most 63 characters, no key word, and not beginning with pg_"
    schema = str(_matching(_IDENTIFIER, expected)(name, value))
    if schema in RESERVED_WORDS or schema.startswith("pg_"):
        raise InvalidSetting(name, schema, expected)
    return schema


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "database_url": _database_url,
    "broker_url": _broker_url,
    "realtime_url": _redis_url,
    "realtime": _one_of(Realtime, "full, ids or off"),
    "schema": _schema,
    "prefix": _matching(_PREFIX, "1 to 63 letters, digits, '_', '-', '.' or ':'"),
    "max_event_bytes": _max_event_bytes,
    "lease_seconds": _seconds,
    "publish_seconds": _seconds,
    "strict_types": _switch,
    "schema_registration": _one_of(SchemaRegistration, "register, verify or off"),
    "prepare": _switch,
    "redact": _paths,
    "alert_url": _alert_url,
    "alert_secret": _alert_secret,
    "alert_format": _one_of(AlertFormat, "json or slack"),
    "alert_seconds": _seconds,
}
#: What can be set: as arguments of `EventBus`; in capitals, as EVENTBUS_…, in the environment.
NAMES = tuple(_READERS)
