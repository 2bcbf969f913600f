"""A throwaway Valkey (or Redis): an empty server in a folder of its own, reachable over loopback."""

import os
import signal

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from eventbus.embedded.accounts import reachable, server_account
from eventbus.embedded.binaries import find_valkey
from eventbus.embedded.directories import ServerDirectory
from eventbus.embedded.processes import Command
from eventbus.embedded.server import HOST, EmbeddedServer


class EmbeddedValkey(EmbeddedServer):
    """A throwaway Valkey server."""

    name = "Valkey"

    def __init__(self, *, persistent: bool = False) -> None:
        """Make a server that is not started yet.

        Args:
            persistent: Whether an append-only file keeps the data across restarts. Without it they are lost.
        """
        super().__init__()
        self._persistent = persistent

    @property
    def url(self) -> str:
        """The URL of database 0, `redis://…`."""
        return f"redis://{HOST}:{self._port}/0"

    def _prepare(self, directory: ServerDirectory) -> None:
        """An empty folder is all it needs."""

    def _command(self, directory: ServerDirectory, port: int) -> Command:
        settings = {
            "bind": HOST,
            "port": str(port),
            "dir": str(directory.data),
            # No snapshots: they would keep some of the data of a server that is to keep none.
            "save": "",
            "appendonly": "yes" if self._persistent else "no",
            # A queue that drops messages when memory is short would be no queue.
            "maxmemory-policy": "noeviction",
        }
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return Command(
            argv=[str(reachable(find_valkey())), *options],
            log_path=directory.log,
            folder=directory.data,
            environment=dict(os.environ) | {"LC_ALL": "C"},
            account=server_account(),
            stop_signal=signal.SIGTERM,
            remove=directory.path,
            held_descriptors=(directory.lock_descriptor,),
        )

    def _answers(self, port: int, pid: int) -> bool:
        # The caller asks again, far sooner than the client would.
        once = Retry(NoBackoff(), retries=0)
        client = redis.Redis(host=HOST, port=port, socket_timeout=5, socket_connect_timeout=5, retry=once)
        try:
            answer = client.info("server")
        except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError):
            return False
        finally:
            client.close()
        # Someone else's server on this port has another pid.
        return bool(answer["process_id"] == pid)
