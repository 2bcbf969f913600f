"""Which user a server runs as, and how it reaches its program.

PostgreSQL refuses to run as root, and a Redis without a password should not. Started by root, servers therefore run as
`nobody`, who cannot enter root's home: programs installed below such a folder are copied, once, to where they can be
read.
"""

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

from eventbus.embedded.binaries import ServerBinary
from eventbus.embedded.errors import ServerNotStarted
from eventbus.embedded.processes import Account

#: Tried in this order. Not `postgres` first: its user owns the real databases of the machine.
UNPRIVILEGED = ("nobody", "postgres")

#: Folders for data and copied programs, should the temporary folder itself be closed to others.
PUBLIC_FOLDERS = ("/var/tmp", "/tmp")  # noqa: S108 - every name below them is unpredictable or checked for its owner


def server_account() -> Account | None:
    """The user for servers: None, which is the present user, unless that is root.

    Raises:
        ServerNotStarted: Root has no unprivileged account to give.
    """
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(user_id=entry.pw_uid, group_id=entry.pw_gid)
    # initdb looks its user up, so a number that has no name will not do.
    raise ServerNotStarted("A server", f"root must not run it, and there is no account {' or '.join(UNPRIVILEGED)}", "")


def public_folder() -> Path:
    """The temporary folder, or one that any user may enter if that is closed to others."""
    preferred = Path(tempfile.gettempdir())
    if os.geteuid() != 0 or _is_open_to_all(preferred):
        return preferred
    return next(path for path in map(Path, PUBLIC_FOLDERS) if _is_open_to_all(path))


def reachable(binary: ServerBinary) -> Path:
    """The path of *binary* that the server's user can execute: its own, or that of a copy."""
    if os.geteuid() != 0 or not binary.bundle or _is_open_to_all(binary.path):
        return binary.path
    copy = public_folder() / f"eventbus-programs-{_fingerprint(binary)}"
    if not _is_ours(copy):
        copy = _copy(binary, copy)
    return copy / binary.path.relative_to(binary.home)


def _copy(binary: ServerBinary, target: Path) -> Path:
    """Copy whole or not at all: another process may be copying the same, and may read the target at any moment."""
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        for part in binary.bundle:
            shutil.copytree(part, fresh / part.relative_to(binary.home), symlinks=True)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        fresh.rename(target)
    except OSError:
        # Someone was faster. The copy of another of our own processes serves; a stranger's must not be executed.
        if not _is_ours(target):
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def _fingerprint(binary: ServerBinary) -> str:
    status = binary.path.stat()
    facts = f"{binary.path}:{status.st_size}:{status.st_mtime_ns}"
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def _is_ours(path: Path) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & stat.S_IWOTH


def _is_open_to_all(path: Path) -> bool:
    """Whether any user may pass through each folder on the way to *path*, and execute or enter it."""
    return all(step.stat().st_mode & stat.S_IXOTH for step in (path.resolve(), *path.resolve().parents))
