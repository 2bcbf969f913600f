"""The file of users: what a line of it means, from when on, and what a guess takes."""

import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PosixPath
from typing import Any

import pytest

from eventbus.console import Role
from eventbus.console.users import UserFile, has_password, user_line
from eventbus.errors import ConfigurationError

PASSWORD = "correct horse battery"
COST = 1 << 10
#: Of a line that can be used.
SALT, DIGEST = "c2FsdHNhbHRzYWx0c2FsdA==", "ZGlnZXN0ZGlnZXN0ZGlnZXN0ZGlnZXN0"


def line(name: str, role: Role = Role.VIEWER, password: str = PASSWORD) -> str:
    """A line whose hash is made quickly."""
    return user_line(name, role, password, cost=COST)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of alice and bob, with a comment and an empty line."""
    written = tmp_path / "users"
    written.write_text(f"# on call\n{line('alice')}\n\n{line('bob')}\n")
    return written


def test_an_unknown_name_takes_as_long_as_a_wrong_password(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password is hashed for it, too, and at the same cost: a clock tells nobody who exists."""
    costs, scrypt = [], hashlib.scrypt

    def noting(secret: bytes, **given: Any) -> bytes:
        costs.append(given["n"])
        return scrypt(secret, **given)

    monkeypatch.setattr(hashlib, "scrypt", noting)
    users = UserFile(path)

    assert [users.check(name, "another password") for name in ("alice", "nobody")] == [None, None]
    assert users.check("nobody", PASSWORD) is None
    assert costs == [COST] * 3


def test_guesses_at_the_same_moment_wait_for_each_other(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 32 MiB."""
    met, scrypt = threading.Barrier(2), hashlib.scrypt
    overlaps = []

    def meeting(secret: bytes, **given: Any) -> bytes:
        try:
            met.wait(0.2)
            overlaps.append(secret)
        except threading.BrokenBarrierError:
            met.reset()
        return scrypt(secret, **given)

    users = UserFile(path)
    monkeypatch.setattr(hashlib, "scrypt", meeting)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(users.check, ("alice", "bob"), (PASSWORD, PASSWORD)))

    assert [user.name for user in found if user] == ["alice", "bob"]
    assert overlaps == []


def test_a_later_line_takes_the_place_of_an_earlier_one(path: Path) -> None:
    """Another password, or another role, is one more line at the end; the old password is worth nothing then."""
    with path.open("a") as file:
        file.write(line("alice", Role.OPERATOR, "another password") + "\n")
    users = UserFile(path)

    assert users.check("alice", PASSWORD) is None
    alice = users.check("alice", "another password")
    assert alice is not None
    assert alice.may_operate


def rename(path: Path, text: str) -> None:
    """Another file in its place, which is as old and as long."""
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    fresh.replace(path)


def lengthen(path: Path, text: str) -> None:
    """The same file, as old as it was."""
    path.write_text(f"{text}# ")


def touch(path: Path, text: str) -> None:
    """The same file, as long as it was, a moment later."""
    path.write_text(text)


@pytest.mark.parametrize(("change", "later"), [(rename, 0), (lengthen, 0), (touch, 1)], ids=["name", "length", "time"])
def test_a_change_is_noticed_however_it_was_made(path: Path, change: Callable[[Path, str], None], later: int) -> None:
    """By an editor that replaces the file or writes into it, within one tick of its clock or beyond."""
    users, before = UserFile(path), path.stat().st_mtime_ns
    assert users.check("bob", PASSWORD)

    change(path, f"# on call\n{line('alice')}\n\n{line('bob', password='another password')}\n")
    os.utime(path, ns=(before, before + later))

    assert users.check("bob", PASSWORD) is None
    assert users.check("bob", "another password")


class ChangedMeanwhile(PosixPath):
    """A file that somebody writes anew just after it was read for the first time."""

    def read_text(self, *arguments: Any, **options: Any) -> str:
        """What it held before."""
        text = super().read_text(*arguments, **options)
        if "carol" not in text:
            self.write_text(line("carol"))
        return text


def test_what_is_changed_while_it_is_read_is_noticed(path: Path) -> None:
    """With the next request."""
    users = UserFile(ChangedMeanwhile(path))

    assert users.find("alice") is None
    assert users.find("carol") is not None


@pytest.mark.parametrize("content", [b"nonsense", b"# nobody\n", b"\xff\xfe", None], ids=str)
def test_a_slip_lets_nobody_in_and_is_logged_once(
    path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever made it is told where to look, with no word of what the file holds; mended, it holds again."""
    users, good = UserFile(path), path.read_text()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)

    assert [users.find("alice"), users.check("alice", PASSWORD), users.fingerprint("alice")] == [None, None, ""]
    [record] = caplog.records
    assert (record.levelname, record.message) == ("ERROR", "console_users_unusable")
    assert str(path) in vars(record)["reason"]
    assert "nonsense" not in vars(record)["reason"]

    path.write_text(good)
    assert users.check("alice", PASSWORD)
    path.unlink()
    assert users.find("alice") is None
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    "text",
    [
        f"carol:viewer:scrypt$1024$8$1${SALT}",
        f"carol:admin:scrypt$1024$8$1${SALT}${DIGEST}",
        f"car ol:viewer:scrypt$1024$8$1${SALT}${DIGEST}",
        f"carol:viewer:scrypt$1000$8$1${SALT}${DIGEST}",
        f"carol:viewer:scrypt$1$8$1${SALT}${DIGEST}",
        f"carol:viewer:scrypt$1024$0$1${SALT}${DIGEST}",
        f"carol:viewer:scrypt$1024$8$0${SALT}${DIGEST}",
        f"carol:viewer:scrypt$1048576$8$1${SALT}${DIGEST}",
        f"carol:viewer:scrypt$1024$8$1${SALT}${DIGEST}A",
        f"carol:viewer:scrypt$1024$8$1$={SALT}${DIGEST}",
        f"carol:viewer:scrypt$1024$8$1${SALT}$YQ==============",
    ],
)
def test_a_line_that_no_login_could_use_is_refused_at_the_start(path: Path, text: str) -> None:
    """Rather than by an error of the login, or by as much memory as it asks for."""
    path.write_text(f"{line('alice')}\n{text}\n")

    with pytest.raises(ConfigurationError, match=r"users:2 is not name:role:hash"):
        UserFile(path)


def test_the_line_of_that_test_can_be_used_otherwise(path: Path) -> None:
    """Nothing else is wrong with it."""
    path.write_text(f"carol:viewer:scrypt$1024$8$1${SALT}${DIGEST}\n")

    assert UserFile(path).find("carol") is not None


def test_equal_passwords_have_different_hashes() -> None:
    """Nobody sees in the file that two are the same, or looks one up in a table."""
    hashes = [line("alice").rpartition(":")[2] for _ in range(2)]

    assert hashes[0] != hashes[1]
    assert all(has_password(each, PASSWORD) for each in hashes)


def test_a_guess_is_dear() -> None:
    """32 MiB each: as much as 1 << 15 rounds of blocks of 8 take."""
    assert user_line("alice", Role.VIEWER, PASSWORD).startswith("alice:viewer:scrypt$32768$8$1$")


@pytest.mark.parametrize("password", ["\ud800 and more of it", "ж" * 10, "x" * 1000])
def test_any_text_is_a_password(password: str) -> None:
    """Also one that is no proper text."""
    stored = line("alice", password=password).rpartition(":")[2]

    assert has_password(stored, password)
    assert not has_password(stored, f"{password[:-1]}y")
