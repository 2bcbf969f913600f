"""`eventbus console`: reached from this machine only, or with a login; what cannot be served is one sentence."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventbus.cli import main
from eventbus.console.access import Role
from eventbus.console.users import UserFile, user_line
from tests.support.workers import ROOT

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs `eventbus console ARGUMENTS` in this process, where nothing is served."""

    def call(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(["console", *arguments])
        captured = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(str(ended.value.code)), captured.out, captured.err)

    return call


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "console.example"])
def test_it_is_open_to_nobody_without_a_login(run: Run, host: str) -> None:
    """On any other address than this machine's it does not start: exit code 2, one sentence, with what to do."""
    done = run("--host", host, EVENTBUS_DATABASE_URL="postgresql://x/y", EVENTBUS_BROKER_URL="redis://x")

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"the console on {host} would be open to everyone" in done.stderr
    assert "EVENTBUS_CONSOLE_USERS" in done.stderr


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"USERS": "/nowhere/users"}, "/nowhere/users cannot be read"),
        ({"USERS": "{empty}"}, "names no user"),
        ({"USERS": "{broken}"}, "users:2 is not name:role:hash"),
        ({"USERS": "{broken}", "USER_HEADER": "X-User"}, "both set"),
        ({"USER_HEADER": "X-User"}, "needs EVENTBUS_CONSOLE_PROXIES"),
        ({"OPERATORS": "alice"}, "EVENTBUS_CONSOLE_OPERATORS needs EVENTBUS_CONSOLE_USER_HEADER"),
        ({"OPERATORS": "alice", "USERS": "{empty}"}, "needs EVENTBUS_CONSOLE_USER_HEADER"),
        ({"USER_HEADER": "X User:", "PROXIES": "10.0.0.0/8"}, "EVENTBUS_CONSOLE_USER_HEADER is 'X User:'"),
        ({"USER_HEADER": "X-User", "PROXIES": "the proxy"}, "EVENTBUS_CONSOLE_PROXIES is 'the proxy'"),
        ({"SECRET": "short"}, "EVENTBUS_CONSOLE_SECRET is '***'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_sentence(
    run: Run, tmp_path: Path, settings: dict[str, str], sentence: str
) -> None:
    """What, where, and what to do; never the secret."""
    (tmp_path / "empty").write_text("# nobody yet\n")
    (tmp_path / "broken.users").write_text(user_line("a", Role.VIEWER, "0123456789", cost=1 << 4) + "\nb:root:x\n")
    paths = {"{empty}": str(tmp_path / "empty"), "{broken}": str(tmp_path / "broken.users")}
    given = {f"EVENTBUS_CONSOLE_{name}": paths.get(value, value) for name, value in settings.items()}

    done = run(EVENTBUS_DATABASE_URL="postgresql://x/y", EVENTBUS_BROKER_URL="redis://x", **given)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert sentence in done.stderr


@pytest.mark.parametrize("url", ["flower", "ftp://x", "http://me:secret@flower:5555", "http://[::1:5555"])
def test_flowers_address_is_one(run: Run, url: str) -> None:
    """Of http or https, and without a password, which every page would show."""
    servers = {"EVENTBUS_DATABASE_URL": "postgresql://x/y", "EVENTBUS_BROKER_URL": "redis://x"}

    done = run(**servers, EVENTBUS_FLOWER_URL=url)

    assert (done.returncode, "EVENTBUS_FLOWER_URL" in done.stderr, "secret" in done.stderr) == (2, True, False)


@pytest.mark.parametrize("path", ["eventbus", "//evil", "/a b", '/"x', "/a?b"])
def test_a_root_path_is_one(run: Run, path: str) -> None:
    """It is written into every page."""
    servers = {"EVENTBUS_DATABASE_URL": "postgresql://x/y", "EVENTBUS_BROKER_URL": "redis://x"}

    done = run("--root-path", path, **servers)

    assert (done.returncode, "--root-path" in done.stderr) == (2, True)


def test_a_user_is_a_line_of_a_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`eventbus console user` makes it; the password is not in it, and only that password fits it."""
    (tmp_path / "password").write_text("correct horse battery\n")
    with (tmp_path / "password").open() as given:
        monkeypatch.setattr(sys, "stdin", given)
        done = run("user", "alice", "--role", "operator")
    (tmp_path / "users").write_text(done.stdout)

    users = UserFile(tmp_path / "users")

    assert re.fullmatch(r"alice:operator:scrypt\$\S+\n", done.stdout)
    assert "horse" not in done.stdout
    alice = users.check("alice", "correct horse battery")
    assert alice is not None
    assert (alice.name, alice.role, users.check("alice", "correct horse"), users.check("bob", "x")) == (
        "alice",
        Role.OPERATOR,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("name", "password", "sentence"),
    [
        *(("a:b", b"long enough", "is no name"), ("a", b"short", "10 to 1000"), ("a", b"x" * 1001, "10 to")),
        ("a", b"correct h\xf6rse", "no text in UTF-8"),
    ],
)
def test_a_user_that_cannot_be_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, password: bytes, sentence: str
) -> None:
    """A name that would break the file, a password that is too short or too long, or no text."""
    (tmp_path / "password").write_bytes(password)
    with (tmp_path / "password").open(encoding="utf-8") as given:
        monkeypatch.setattr(sys, "stdin", given)
        done = run("user", name)

    assert (done.returncode, sentence in done.stderr, done.stdout) == (2, True, "")


def test_what_is_missing_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra's packages, when they are not there; the bus, when nobody says where it is."""
    monkeypatch.delenv("EVENTBUS_DATABASE_URL", raising=False)
    assert "EVENTBUS_DATABASE_URL is not set" in run().stderr

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = run()

    assert (done.returncode, "pip install 'eventbus[console]'" in done.stderr) == (2, True)


@pytest.fixture
def served(database_url: str, broker_url: str, tmp_path: Path) -> Iterator["tuple[subprocess.Popen[str], str]"]:
    """`eventbus console` on a free port, under a path, as a process; and its address."""
    servers = {"EVENTBUS_DATABASE_URL": database_url, "EVENTBUS_BROKER_URL": broker_url}
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from eventbus.cli import main; main()",
            "console",
            "--port",
            "0",
            "--root-path",
            "/bus/",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), **servers},
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found, line
    yield process, found[0]
    if process.poll() is None:
        process.kill()
    process.communicate(timeout=20)


def test_it_serves_until_it_is_told_to_end(served: "tuple[subprocess.Popen[str], str]") -> None:
    """Pages under their path, a stream that ends with it, and a port that is open on this machine only."""
    process, url = served
    with urllib.request.urlopen(f"{url}/", timeout=20) as answer:
        assert 'href="/bus/static/console.css"' in answer.read().decode()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url.replace("127.0.0.1", "127.0.0.2"), timeout=5)

    with urllib.request.urlopen(f"{url}/live", timeout=20) as stream:
        assert stream.readline().startswith(b"event: ")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert stream.read().endswith(b"\n\n")
    assert process.stderr is not None
    assert process.stderr.read() == ""
