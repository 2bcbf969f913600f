"""The commands that this process sends to Redis, as the server sees them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import redis


@contextmanager
def commands(client: "redis.Redis[bytes]") -> Iterator[list[str]]:
    """What is sent to the server, by name, while the block runs, without what scripts call and what connecting takes.

    Other processes may use the server meanwhile, if this one reaches it over TCP.
    """
    seen: list[str] = []
    marker = uuid4().hex
    with client.monitor() as monitor:
        before = _own_ports()
        yield seen
        own = before | _own_ports()
        client.echo(marker)
        for command in monitor.listen():
            if marker in command["command"]:
                return
            name = command["command"].split()[0]
            is_own = command["client_port"] in own if own and command["client_type"] == "tcp" else True
            if is_own and command["client_type"] != "lua" and name not in ("HELLO", "CLIENT", "SELECT"):
                seen.append(name)


def _own_ports() -> set[str]:
    """The ports of this process's connections; none where the system does not tell."""
    own = set()
    for descriptor in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            own.add(str(descriptor.readlink()))
    lines = [line for name in ("tcp", "tcp6") for line in _lines(Path("/proc/self/net") / name)]
    return {str(int(line[1].rpartition(":")[2], 16)) for line in lines if f"socket:[{line[9]}]" in own}


def _lines(table: Path) -> list[list[str]]:
    return [line.split() for line in table.read_text().splitlines()[1:]] if table.exists() else []
