"""Users: a file of names, roles and hashed passwords, one a line; what is changed in it holds from the next request on.

alice:operator:scrypt$16384$8$1$<salt>$<hash>
"""

import base64
import hashlib
import hmac
import logging
import re
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from eventbus.console.access import Asked, Role, User
from eventbus.errors import ConfigurationError, InvalidInput

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,99}")
_HASH = re.compile(r"scrypt\$(\d{1,7})\$(\d{1,2})\$(\d{1,2})\$([A-Za-z0-9+/=]{16,100})\$([A-Za-z0-9+/=]{16,100})")
_SHORTEST_PASSWORD, _LONGEST_PASSWORD = 10, 1000
#: 32 MiB and about 60 ms for each: a guess is dear, and few run at once.
_COST, _BLOCK, _PARALLEL = 1 << 15, 8, 1
_MOST_BYTES = 128 << 20


@dataclass(frozen=True, kw_only=True)
class _Known:
    user: User
    hash: str


class UserFile:
    """The users of a console."""

    def __init__(self, path: Path) -> None:
        """Read *path*.

        Raises:
            ConfigurationError: It cannot be read, a line of it cannot be used, or it names nobody.
        """
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._users: dict[str, _Known] = {}
        #: Why it cannot be used now, as far as that was logged.
        self._complaint = ""
        self._read()

    def find(self, name: str) -> User | None:
        """The user of that name, as the file says now."""
        return known.user if (known := self._current().get(name)) else None

    def check(self, name: str, password: str) -> User | None:
        """The user of that name if *password* is theirs."""
        users = self._current()
        known = users.get(name)
        # Somebody's, where there is no such user: an answer takes as long as it does for one.
        stored = known.hash if known else next((each.hash for each in users.values()), "")
        # One at a time: each takes a lot of memory, and whoever guesses is to wait.
        with self._lock:
            is_right = has_password(stored, password)
        return known.user if known and is_right else None

    def fingerprint(self, name: str) -> str:
        """What changes with the password of *name*; a session that was opened before it did is over."""
        known = self._current().get(name)
        return hashlib.sha256(known.hash.encode()).hexdigest() if known else ""

    def _current(self) -> dict[str, _Known]:
        try:
            if self._stamp != self._stamp_now():
                self._read()
        except (OSError, ConfigurationError) as error:
            # While it is written anew, or after a slip, nobody gets in.
            self._complain(str(error))
            return {}
        return self._users

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:
            log.error("console_users_unusable", extra={"reason": reason})
        self._complaint = reason

    def _read(self) -> None:
        try:
            stamp, text = self._stamp_now(), self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"the users of the console in {self._path} cannot be read: {error}.") from error
        users = dict(
            _parsed(line, f"{self._path}:{number}")
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and not line.startswith("#")
        )
        if not users:
            raise ConfigurationError(f"{self._path} names no user: add one with 'eventbus console user NAME'.")
        self._users, self._stamp, self._complaint = users, stamp, ""

    def _stamp_now(self) -> tuple[int, int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_size, status.st_ino


class Passwords:
    """A login, against a file of users."""

    has_login = True

    def __init__(self, users: UserFile) -> None:
        self.users = users

    async def identify(self, asked: Asked) -> User | None:
        """The one whose session it is, with the role that the file gives them now."""
        return self.users.find(asked.session_user) if asked.session_user is not None else None


def user_line(name: str, role: Role, password: str, *, cost: int = _COST) -> str:
    """The line of a file of users that says so.

    Args:
        cost: Of trying one password, a power of two.

    Raises:
        InvalidInput: The name or the password cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r:.60} is no name of a user: use up to 100 letters, digits, '_', '.', '@' and '-'.")
    if not _SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        raise InvalidInput(f"a password has {_SHORTEST_PASSWORD} to {_LONGEST_PASSWORD} characters.")
    return f"{name}:{role}:{_hashed(password, cost)}"


def _hashed(password: str, cost: int) -> str:
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, cost, _BLOCK, _PARALLEL)
    parts = (base64.b64encode(part).decode() for part in (salt, digest))
    return "$".join(("scrypt", str(cost), str(_BLOCK), str(_PARALLEL), *parts))


def has_password(stored: str, password: str) -> bool:
    """Whether *stored* was made of *password*."""
    found = _HASH.fullmatch(stored)
    if found is None:
        return False
    salt, digest = (base64.b64decode(found[part]) for part in (4, 5))
    return hmac.compare_digest(digest, _scrypt(password, salt, int(found[1]), int(found[2]), int(found[3])))


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=cost, r=block, p=parallel, maxmem=_MOST_BYTES)


def _parsed(line: str, where: str) -> tuple[str, _Known]:
    name, _, rest = line.strip().partition(":")
    role, _, stored = rest.partition(":")
    if not _NAME.fullmatch(name) or role not in set(Role) or not _is_usable(stored):
        raise ConfigurationError(
            f"{where} is not name:role:hash with the role viewer or operator: write it with 'eventbus console user NAME'."
        )
    return name, _Known(user=User(name=name, role=Role(role)), hash=stored)


def _is_usable(stored: str) -> bool:
    found = _HASH.fullmatch(stored)
    if found is None:
        return False
    cost, block, parallel = (int(found[part]) for part in (1, 2, 3))
    try:
        for part in (4, 5):
            base64.b64decode(found[part], validate=True)
    except ValueError:
        return False
    is_power = cost > 1 and cost & (cost - 1) == 0
    return is_power and parallel > 0 and 0 < 128 * cost * block < _MOST_BYTES
