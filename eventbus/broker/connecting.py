"""Connecting: which way leads to the broker of the settings."""

from contextlib import suppress
from urllib.parse import urlsplit

from celery import Celery

from eventbus.broker.contract import Broker
from eventbus.broker.kombu_broker import KombuBroker
from eventbus.broker.redis_broker import RedisBroker
from eventbus.broker.redis_server import RedisListeners
from eventbus.errors import ConfigurationError
from eventbus.settings import Settings
from eventbus.urls import REDIS_SCHEMES, scheme, without_password

#: Transport options of kombu that do not change where or how a message is stored in Redis.
_HARMLESS_OPTIONS = frozenset({"visibility_timeout", "ack_emulation", "global_keyprefix", "health_check_interval"})


def require_agreement(app: Celery, url: str) -> None:
    """Make sure that a worker of *app* reads what the bus writes to the broker at *url*.

    Raises:
        ConfigurationError: Celery has another one, from where the app's own configuration does not matter.
    """
    # With other brokers than Redis the bus writes as Celery does, and a cluster may be read by another name.
    names = ("broker_write_url", "broker_read_url") if scheme(url) in REDIS_SCHEMES else ("broker_write_url",)
    for name in names:
        used = str(getattr(app.conf, name))
        if _place(used) != _place(url):
            raise ConfigurationError(
                f"the bus's broker is {without_password(url)} and Celery's is {without_password(used)}, so no worker would hear "
                f"of an event: CELERY_BROKER_URL, celery -b or {name} must name the bus's, or EVENTBUS_BROKER_URL theirs."
            )


def _place(url: str) -> object:
    """What tells one broker from another."""
    if scheme(url) not in ("redis", "rediss") or ";" in url:
        return url
    # It may be written in several ways; what is no address at all is compared as it stands.
    with suppress(ValueError):
        parts = urlsplit(url)
        return parts.hostname, parts.port or 6379, parts.path.strip("/") or "0"
    return url


def connect(app: Celery, settings: Settings) -> Broker:
    """The broker of *settings*, reached in the fastest way that suits it. Opens no connection yet.

    Raises:
        InvalidSetting: The broker's URL, or that of the real-time channels, is of no use.
    """
    options = dict(app.conf.broker_transport_options or {})
    plain = settings.broker_url.startswith(("redis://", "rediss://")) and not app.conf.broker_use_ssl
    plain = plain and ";" not in settings.broker_url  # several brokers, the next one where one is away
    if plain and set(options) <= _HARMLESS_OPTIONS:
        prefix = str(options.get("global_keyprefix", ""))
        return RedisBroker(app, settings.broker_url, keyprefix=prefix, realtime_url=settings.realtime_url)
    listeners = RedisListeners(settings.realtime_url) if settings.realtime_url else None
    return KombuBroker(app, settings.broker_url, listeners=listeners)
