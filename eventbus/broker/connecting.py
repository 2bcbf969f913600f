"""Connecting: which way leads to the broker of the settings."""

from celery import Celery

from eventbus.broker.contract import Broker
from eventbus.broker.kombu_broker import KombuBroker
from eventbus.broker.redis_broker import RedisBroker
from eventbus.broker.redis_server import RedisListeners
from eventbus.settings import Settings

#: Transport options of kombu that do not change where or how a message is stored in Redis.
_HARMLESS_OPTIONS = frozenset({"visibility_timeout", "ack_emulation", "global_keyprefix", "health_check_interval"})


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
