"""A throwaway PostgreSQL: a new cluster in a folder of its own, reachable over loopback with a random password.

The password is not a formality: a PostgreSQL superuser may run programs, so a cluster that trusts every local
connection would lend its user's account to everyone on the machine.
"""

import os
import secrets
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from eventbus.embedded import databases
from eventbus.embedded.accounts import reachable, server_account
from eventbus.embedded.binaries import find_postgres
from eventbus.embedded.directories import ServerDirectory
from eventbus.embedded.errors import ServerNotStarted
from eventbus.embedded.processes import Command
from eventbus.embedded.server import HOST, EmbeddedServer

#: Name of the superuser and of the first database.
NAME = "eventbus"

#: The database that initdb makes.
MAINTENANCE = "postgres"

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "max_prepared_transactions": "20",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

#: Survives a killed server, because the operating system still has the writes, but not a killed machine.
FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


#: The first PostgreSQL that knows `scram_iterations`, as it tells its own number.
_WITH_ITERATIONS = 160_000


class EmbeddedPostgres(EmbeddedServer):
    """A throwaway PostgreSQL server."""

    name = "PostgreSQL"

    def __init__(self, *, durable: bool = True) -> None:
        """Make a server that is not started yet.

        Args:
            durable: Whether commits survive a crash of the machine. Without it tests run faster.
        """
        super().__init__()
        self._durable = durable
        self._password = secrets.token_urlsafe(18)

    @property
    def url(self) -> str:
        """The URL of the first database, for its superuser; `postgresql://…`, password included."""
        return self._url(self._port, NAME)

    def start(self) -> None:
        """Start the server, on its former port and data if it ran before, and return when it answers."""
        super().start()
        self._hasten_login()
        databases.ensure_database(self._url(self._port, MAINTENANCE), NAME)

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create a database, as a copy of *template* if given, and return its URL."""
        return databases.create_database(self.url, name, template=template)

    def drop_database(self, name: str) -> None:
        """Drop a database and its connections; nothing happens if there is none."""
        databases.drop_database(self.url, name)

    def _hasten_login(self) -> None:
        """Keep the password as one round of its hash: 4,096 cost each connection 4 ms, and hold up nobody who guesses 144 bits."""
        with (
            closing(psycopg2.connect(self._url(self._port, MAINTENANCE))) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            if connection.server_version >= _WITH_ITERATIONS:
                cursor.execute("SET LOCAL scram_iterations = 1")
                cursor.execute(f"ALTER ROLE {NAME} PASSWORD %s", (self._password,))

    def _url(self, port: int | None, database: str) -> str:
        return f"postgresql://{NAME}:{self._password}@{HOST}:{port}/{database}"

    def _prepare(self, directory: ServerDirectory) -> None:
        if (directory.data / "PG_VERSION").exists():
            # Left by kill(); a pid in it may by now be another process's, which makes PostgreSQL refuse to start.
            (directory.data / "postmaster.pid").unlink(missing_ok=True)
            return
        password = directory.path / "password"
        password.write_text(self._password)
        try:
            self._initialize(directory, password)
        finally:
            password.unlink()

    def _initialize(self, directory: ServerDirectory, password: Path) -> None:
        initdb = reachable(find_postgres()).with_name("initdb")
        account: dict[str, Any] = {}
        if (user := server_account()) is not None:
            os.chown(password, user.user_id, user.group_id)
            account = {"user": user.user_id, "group": user.group_id, "extra_groups": []}
        result = subprocess.run(
            [
                *(str(initdb), "--pgdata", str(directory.data), "--username", NAME, "--pwfile", str(password)),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=directory.data,
            env=_environment(),
            **account,
        )
        if result.returncode != 0:
            output = result.stdout + result.stderr
            raise ServerNotStarted(self.name, f"initdb ended with exit code {result.returncode}", output)

    def _command(self, directory: ServerDirectory, port: int) -> Command:
        settings = SETTINGS | {"port": str(port)} | ({} if self._durable else FAST_SETTINGS)
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Command(
            argv=[str(reachable(find_postgres())), "-D", str(directory.data), *options],
            log_path=directory.log,
            folder=directory.data,
            environment=_environment(),
            account=server_account(),
            # A fast shutdown: clients are disconnected, a checkpoint is written.
            stop_signal=signal.SIGINT,
            # An immediate shutdown; unlike SIGKILL it leaves no shared memory behind.
            death_signal=signal.SIGQUIT,
            remove=directory.path,
            held_descriptors=(directory.lock_descriptor,),
        )

    def _answers(self, port: int, pid: int) -> bool:  # noqa: ARG002 - its password identifies it
        try:
            # Nobody else's server on this port knows the password.
            psycopg2.connect(self._url(port, MAINTENANCE), connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True


def _environment() -> dict[str, str]:
    """The environment without PG* variables, which change what a server and its tools do, and without a locale."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))} | {
        "LC_ALL": "C"
    }
