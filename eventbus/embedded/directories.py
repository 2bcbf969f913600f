"""Folders of throwaway servers: each belongs to a process, and goes when that process has gone.

The owner holds a lock on a file in the folder, and so does the guardian of the server in it. A folder whose lock can be
taken is therefore nobody's, even if it was left by a crash of the machine; process ids would not tell, because they are
given out again.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path

from eventbus.embedded.accounts import public_folder, server_account

PREFIX = "eventbus-server-"
LOCK = "lock"


class ServerDirectory:
    """A locked folder with an empty `data` folder that belongs to the server's user."""

    def __init__(self) -> None:
        remove_stale_directories()
        parent = public_folder()
        # Under its final name a folder has its lock from the first moment, or it would be taken for a stale one.
        fresh = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
        self.lock_descriptor = os.open(fresh / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.lock_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        data = fresh / "data"
        data.mkdir(mode=0o700)
        account = server_account()
        if account:
            # The server's user passes through the folder to its data, and may not list it.
            fresh.chmod(0o711)
            os.chown(data, account.user_id, account.group_id)
        self.path = fresh.rename(parent / fresh.name.removeprefix("."))
        self.data = self.path / "data"
        self.log = self.path / "server.log"

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(self.lock_descriptor)


def remove_stale_directories() -> None:
    """Delete the folders of this user whose owners are dead."""
    for path in public_folder().glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                _remove_if_unlocked(path)


def _remove_if_unlocked(path: Path) -> None:
    descriptor = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)
