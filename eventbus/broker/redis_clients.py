"""Clients of Redis, made from the URL of a setting; what is wrong with it is said before any server is asked."""

import re
from typing import Any

import redis

from eventbus.errors import InvalidSetting
from eventbus.urls import encoding_hint, options_hint, without_password

_CERTIFICATES = re.compile(r"([?&]ssl_cert_reqs=)CERT_(REQUIRED|OPTIONAL|NONE)\b")


#: As many as there are threads: left to itself a client of today's stops at a hundred, and fails.
_MOST_CONNECTIONS = (1 << 31) - 1


def redis_client(url: str, setting: str, **options: Any) -> redis.Redis:
    """A client for *url*, with the redis package's *options*; it opens no connection yet.

    Raises:
        InvalidSetting: The client makes nothing of *url*, which *setting* gave.
    """
    try:
        client = redis.Redis.from_url(_spelled_as_the_client_does(url), max_connections=_MOST_CONNECTIONS, **options)
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # options are looked at no sooner
    except (ValueError, TypeError, AttributeError, redis.RedisError):
        client = None
    if client is None:  # raised here, for the cause may hold a part of the password
        hints = f"{options_hint(url, 'the redis package')}{encoding_hint(url)}"
        expected = f"a Redis URL such as redis://host:6379/0{hints}"
        raise InvalidSetting(setting, without_password(url), expected)
    return client


def _spelled_as_the_client_does(url: str) -> str:
    """*url*, where Celery has its own way to name a socket and its database, and what it asks of certificates."""
    url = _CERTIFICATES.sub(lambda found: f"{found[1]}{found[2].lower()}", url)
    if not url.startswith("redis+socket://"):
        return url
    return re.sub(r"([?&])virtual_host=", r"\1db=", url.replace("redis+socket://", "unix://", 1))
