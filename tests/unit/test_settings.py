"""Settings: where they come from, how they are refused, and that no password is ever shown."""

import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from hypothesis import example, given
from hypothesis import strategies as st

from eventbus import EventBus
from eventbus.broker import RedisBroker, require_agreement
from eventbus.errors import ConfigurationError, InvalidSetting, MissingSetting
from eventbus.settings import Realtime, load_settings
from eventbus.urls import without_password

URLS = {"database_url": "postgresql://user@host/db", "broker_url": "redis://host:6379/0"}
SECRET = "s3cr3t"


def load(**arguments: Any) -> Any:
    """Settings from arguments alone."""
    return load_settings({**URLS, **arguments}, environment={})


def bus_of(monkeypatch: pytest.MonkeyPatch, celery: dict[str, Any], environment: dict[str, str]) -> EventBus:
    """The bus of an app with that configuration, in that environment."""
    monkeypatch.delenv("EVENTBUS_BROKER_URL", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    app = Celery("app", set_as_current=False)
    app.conf.update(celery)
    return EventBus(app, database_url=URLS["database_url"])


def test_the_defaults_are_the_documented_ones() -> None:
    """Two URLs are all that is needed."""
    settings = load()

    assert settings.database_url == "postgresql+psycopg2://user@host/db"
    assert settings.realtime_url == settings.broker_url
    assert (settings.realtime, settings.schema, settings.prefix) == (Realtime.FULL, "eventbus", "eventbus")
    assert (settings.max_event_bytes, settings.lease) == (1 << 20, timedelta(seconds=30))
    assert (settings.strict_types, settings.prepare) == (False, True)


@pytest.mark.parametrize(
    ("arguments", "environment", "celery", "expected"),
    [
        ({"prefix": "a"}, {"EVENTBUS_PREFIX": "b"}, {"eventbus_prefix": "c"}, "a"),
        ({}, {"EVENTBUS_PREFIX": "b"}, {"eventbus_prefix": "c"}, "b"),
        ({"prefix": None}, {"EVENTBUS_PREFIX": ""}, {"eventbus_prefix": "c"}, "c"),
        ({}, {}, {}, "eventbus"),
    ],
)
def test_an_argument_wins_over_the_environment_and_that_over_celery(
    arguments: dict[str, Any], environment: dict[str, str], celery: dict[str, Any], expected: str
) -> None:
    """The nearest one counts; an empty variable is none."""
    assert load_settings({**URLS, **arguments}, environment, celery).prefix == expected


@pytest.mark.parametrize(
    ("celery", "environment", "expected"),
    [
        ({"broker_url": "redis://celery/1"}, {}, "redis://celery/1"),
        ({"broker_url": "redis://celery/1", "eventbus_broker_url": "redis://own/2"}, {}, "redis://own/2"),
        ({"broker_url": "redis://celery/1"}, {"EVENTBUS_BROKER_URL": "redis://env/3"}, "redis://env/3"),
    ],
)
def test_the_broker_is_celerys_unless_named(
    celery: dict[str, Any], environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishers push where the app's workers listen, and workers listen where publishers push."""
    bus = bus_of(monkeypatch, celery, environment)

    assert bus.settings.broker_url == expected
    assert bus.app.conf.broker_url == expected


@pytest.mark.parametrize(
    ("celery", "environment", "expected"),
    [
        ({}, {"CELERY_BROKER_URL": "redis://celery/1"}, "redis://celery/1"),
        # As `celery -b` says it.
        ({"broker_url": "redis://app/1"}, {"CELERY_BROKER_URL": "redis://option/2"}, "redis://option/2"),
        (
            {},
            {"CELERY_BROKER_URL": "redis://host", "EVENTBUS_BROKER_URL": "redis://:secret@HOST:6379/0"},
            "redis://:secret@HOST:6379/0",
        ),
        ({"broker_url": "amqp://one//", "broker_read_url": "amqp://two//"}, {}, "amqp://one//"),
    ],
)
def test_the_broker_is_the_one_that_workers_read(
    celery: dict[str, Any], environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever Celery has it from; the same one may be written in several ways."""
    bus = bus_of(monkeypatch, celery, environment)

    assert bus.settings.broker_url == expected
    require_agreement(bus.app, expected)


@pytest.mark.parametrize(
    ("celery", "environment", "other"),
    [
        ({}, {"EVENTBUS_BROKER_URL": "redis://own/1", "CELERY_BROKER_URL": "redis://celery/1"}, "redis://celery/1"),
        ({"eventbus_broker_url": "redis://own/1"}, {"CELERY_BROKER_URL": "redis://own/2"}, "redis://own/2"),
        ({"broker_url": "redis://own/1", "broker_read_url": "redis://:s3cr3t@two/1"}, {}, "redis://:***@two/1"),
        ({"broker_url": "redis://own/1"}, {"CELERY_BROKER_READ_URL": "redis://[two"}, "redis://[two"),
        (
            {"broker_write_url": "amqp://two//", "eventbus_broker_url": "amqp://one//"},
            {},
            "amqp://two//",
        ),
    ],
)
def test_workers_that_would_read_elsewhere_are_refused(
    celery: dict[str, Any], environment: dict[str, str], other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would ever be delivered, and each of the two brokers is well."""
    bus = bus_of(monkeypatch, celery, environment)

    with pytest.raises(ConfigurationError, match=f"Celery's is {re.escape(other)}, so no worker would hear") as caught:
        require_agreement(bus.app, bus.settings.broker_url)

    assert SECRET not in str(caught.value)


def test_a_service_that_only_publishes_may_have_a_broker_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own Celery reads that one."""
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://own/1")

    bus = EventBus.from_env(database_url=URLS["database_url"], broker_url="redis://bus/1")

    assert bus.settings.broker_url == "redis://bus/1"
    assert isinstance(bus.broker, RedisBroker)


def test_a_configuration_with_a_namespace_is_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Django's settings are: each name has Celery's before it."""
    for name in ("EVENTBUS_BROKER_URL", "EVENTBUS_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    app = Celery("app", set_as_current=False)
    django = SimpleNamespace(
        CELERY_BROKER_URL="redis://celery/1",
        CELERY_EVENTBUS_DATABASE_URL="postgresql://host/db",
        CELERY_EVENTBUS_SCHEMA="bus",
        CELERY_EVENTBUS_PREPARE=False,
    )
    app.config_from_object(django, namespace="CELERY")

    settings = EventBus(app).settings

    assert (settings.broker_url, settings.schema, settings.prepare) == ("redis://celery/1", "bus", False)


def test_the_line_end_of_a_url_is_no_part_of_it() -> None:
    """As the file of a secret has one."""
    settings = load_settings({}, {f"EVENTBUS_{name.upper()}": f"{url}\n" for name, url in URLS.items()})

    assert (settings.database_url, settings.broker_url) == ("postgresql+psycopg2://user@host/db", URLS["broker_url"])


@pytest.mark.parametrize("missing", ["database_url", "broker_url"])
def test_a_missing_url_is_named(missing: str) -> None:
    """The error says which variable to set, and to what."""
    given = {name: value for name, value in URLS.items() if name != missing}

    with pytest.raises(MissingSetting, match=f"EVENTBUS_{missing.upper()} is not set"):
        load_settings(given, environment={})


@pytest.mark.parametrize("environment", [{"EVENTBUS_STRICT_TYPES": "1"}, {"EVENTBUS_STRICT_TYPES": "TRUE"}])
def test_a_switch_is_on_with_one_or_true(environment: dict[str, str]) -> None:
    """Both ways to say it are understood."""
    assert load_settings(URLS, environment).strict_types is True


def test_a_switch_of_celery_may_be_a_boolean() -> None:
    """False from a configuration module is no missing value."""
    assert load_settings(URLS, {}, {"eventbus_prepare": False}).prepare is False


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("lease_seconds", "2.5", timedelta(seconds=2.5)),
        ("lease_seconds", 3600, timedelta(hours=1)),
        ("publish_seconds", "2.5", timedelta(seconds=2.5)),
    ],
)
def test_times_are_given_in_seconds(name: str, value: Any, expected: timedelta) -> None:
    """Fractions are allowed."""
    settings = load(**{name: value})

    assert {"lease_seconds": settings.lease, "publish_seconds": settings.publish_limit}[name] == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "mysql://host/db"),
        ("database_url", "host/db"),
        ("database_url", "postgresql://[::1/db"),
        ("database_url", "postgresql://host:port/db"),
        ("database_url", "postgresql://host:99999/db"),
        ("database_url", "postgresql://host/d\nb"),
        ("broker_url", "localhost"),
        ("broker_url", "amqp://ho\x00st"),
        ("broker_url", "redis://host:port/0"),
        ("broker_url", "redis://[::1/0"),
        ("broker_url", "redis://:12/34@host/0"),
        ("broker_url", "redis://host/x"),
        ("broker_url", "redis://host/1/2"),
        ("broker_url", "unix://:a/b@/tmp/redis.sock"),
        ("realtime_url", "redis://:a#b@host/0"),
        ("realtime_url", "redis://:a[b@host/0"),
        ("realtime_url", "amqp://host"),
        ("realtime_url", "redis://host:port"),
        ("realtime", "everything"),
        ("alert_secret", " "),
        ("alert_secret", "whsec_%%%"),
        ("schema", "Event Bus"),
        ("schema", "a; drop table x"),
        ("schema", "a" * 64),
        ("schema", "user"),
        ("schema", "pg_bus"),
        ("prefix", ""),
        ("prefix", "a b"),
        ("prefix", "a" * 64),
        ("max_event_bytes", 0),
        ("max_event_bytes", "1 MiB"),
        ("max_event_bytes", 1 << 40),
        ("max_event_bytes", []),
        ("max_event_bytes", float("inf")),
        ("max_event_bytes", 1.9),
        ("max_event_bytes", True),
        ("max_event_bytes", 10**400),
        ("lease_seconds", 10**400),
        ("lease_seconds", True),
        ("redact", 5),
        ("redact", [1]),
        ("redact", ["data.a", "b"]),
        ("lease_seconds", 0.5),
        ("lease_seconds", 3601),
        ("lease_seconds", "nan"),
        ("lease_seconds", []),
        ("publish_seconds", 0),
        ("strict_types", "yes"),
        ("prepare", 2),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_one_sentence(name: str, value: Any) -> None:
    """It names the variable, the value and what it must be."""
    with pytest.raises(InvalidSetting, match=rf"^EVENTBUS_{name.upper()} is .* but must be .*\.$") as caught:
        load(**{name: value})

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:a%2Fb@host:6379/0",
        "redis://:a@b@host",
        "redis://host",
        "redis://host/",
        "redis://[::1]:6379/0?client_name=a@b",
        "rediss://host?password=a@b",
        "unix:///tmp/a:b@c.sock?db=1",
        "unix://:secret@/tmp/redis.sock",
        "redis+socket:///tmp/redis.sock?virtual_host=1",
    ],
)
def test_a_redis_url_that_clients_understand_is_taken(url: str) -> None:
    """Whatever stands in its path and options."""
    assert load(broker_url=url).realtime_url == url


def test_a_setting_that_does_not_exist_is_refused() -> None:
    """A misspelt argument does not silently leave the default in force."""
    with pytest.raises(ConfigurationError, match="'databse_url' is no setting"):
        load(databse_url="postgresql://x/y")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:s3cr3t@host:5432/db", "postgresql://user:***@host:5432/db"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("redis://:s3cr3t@host:6379/0", "redis://:***@host:6379/0"),
        ("user:s3cr3t@host:5432/db?sslmode=require", "user:***@host:5432/db"),
        ("postgresql:user:s3cr3t@host/db?sslmode=require", "postgresql:***@host/db"),
        ("host=h password=s3cr3t://x", "host=***"),
        ("postgresql://host/db?user=me@server&password=s3cr3t", "postgresql://***"),
        ("redis://host/0?password=s3c@ret", "redis://***"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("postgresql://host/db?user=u&password=s3cr3t", "postgresql://host/db"),
        ("postgresql://user:s3/cr#et?@host/db", "postgresql://user:***@host/db"),
        ("postgresql://[::1]:5432/db", "postgresql://[::1]:5432/db"),
        ("sentinel://:s3cr3t@one:1;sentinel://:s3cr3t@two:2", "sentinel://:***@two:2"),
        ("redis+socket:///tmp/redis.sock", "redis+socket:///tmp/redis.sock"),
        ("user:s3cr3t@host/db", "user:***@host/db"),
        ("postgresql://user:s3cr3t", "postgresql://user:***"),
        ("user=me password=s3cr3t host=db", "user=***"),
        ("password = 's3cr3t' host=db@home", "password=***"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    """Server and database stay readable."""
    assert without_password(url) == shown


passwords = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="@"), max_size=8).map(
    lambda text: f"{text}{SECRET}{text}"
)


@given(passwords, st.sampled_from(["postgresql", "redis", "mysql", "amqp", "", "http"]))
@example("a/", "postgresql")
def test_no_password_reaches_a_message_or_a_repr(password: str, scheme: str) -> None:
    """Whatever is wrong with a URL, what comes before its '@' stays secret."""
    url = f"{scheme}://user:{password}@host:bad/db"
    shown = [without_password(url)]

    for name in ("database_url", "broker_url", "realtime_url"):
        try:
            shown.append(repr(load(**{name: url})))
        except InvalidSetting as error:
            shown += [str(error), repr(error), repr(error.__dict__)]

    assert not any(SECRET in text for text in shown)


def test_queue_and_channel_carry_the_prefix() -> None:
    """Two buses on one broker do not meet; the plain channel is the documented one."""
    plain, own = load(), load(prefix="shop")

    assert (plain.queue("a"), plain.channel("order.created")) == ("eventbus.a", "events:order.created")
    assert (own.queue("a"), own.channel("order.created")) == ("shop.a", "shop:events:order.created")


def test_a_broker_that_is_no_redis_has_no_real_time_channel_unless_one_is_named() -> None:
    """PUBLISH needs a Redis."""
    assert load(broker_url="amqp://host").realtime_url is None
    assert load(broker_url="amqp://host", realtime_url="redis://host").realtime_url == "redis://host"
    assert load(broker_url="redis://one/1;redis://two/1").realtime_url == "redis://one/1"
