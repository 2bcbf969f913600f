"""A PgBouncer in transaction mode before the tests' PostgreSQL: few connections, which each transaction gets anew."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from eventbus.embedded.server import free_port
from tests.support.waiting import wait_until

CONFIGURATION = """
[databases]
* = host={host} port={port} user={user} password={password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
ignore_startup_parameters = extra_float_digits
"""


@contextmanager
def pgbouncer(database_url: str, folder: Path) -> Iterator[str]:
    """The URL of the database of *database_url*, through a PgBouncer with two connections that runs in *folder*."""
    parts = urlsplit(database_url)
    port = free_port()
    path = folder / "pgbouncer.ini"
    path.write_text(
        CONFIGURATION.format(
            host=parts.hostname, port=parts.port, user=parts.username, password=parts.password, listen=port
        )
    )
    # It refuses to run as root.
    as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
    with (folder / "pgbouncer.log").open("w") as log:
        process = subprocess.Popen(["pgbouncer", *as_user, str(path)], stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(port), message=lambda: (folder / "pgbouncer.log").read_text())
        yield parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl()
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
