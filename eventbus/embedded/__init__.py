"""Throwaway servers: a PostgreSQL and a Valkey that need no root, no Docker and no installation.

They listen on loopback, keep their data in a temporary folder, and end with the process that started them, however
that ends. The programs come from the extra `embedded`, from the system, or from where EVENTBUS_POSTGRES_BIN and
EVENTBUS_VALKEY_BIN point. For demonstrations, tests and development; production wants servers of its own.
"""

from eventbus.embedded.errors import ServerBinaryNotFound, ServerNotStarted
from eventbus.embedded.postgres import EmbeddedPostgres
from eventbus.embedded.servers import Servers, start_servers
from eventbus.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedPostgres", "EmbeddedValkey", "ServerBinaryNotFound", "ServerNotStarted", "Servers", "start_servers"]
