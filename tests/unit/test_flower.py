"""Who may reach Flower: this machine alone, unless a password is asked for."""

import pytest
from tornado.options import OptionParser

from eventbus.cli.flower import protect, refuse_unknown


def options(**given: object) -> OptionParser:
    """Flower's options that matter here, with their defaults, and those that were *given*."""
    found = OptionParser()
    for name in ("address", "unix_socket", "auth"):
        found.define(name, default="", type=str)
    found.define("basic_auth", default=None, type=str, multiple=True)
    found.define("tasks_columns", default="name,uuid,state,received,runtime,worker", type=str)
    for name, value in given.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "127.0.0.1"),
        ({"address": "127.0.0.2"}, "127.0.0.2"),
        ({"address": "::1"}, "::1"),
        ({"address": "localhost"}, "localhost"),
        ({"basic_auth": ["me:secret"]}, "127.0.0.1"),
        ({"address": "0.0.0.0", "basic_auth": ["me:secret", "you:s:x"]}, "0.0.0.0"),
        ({"address": "10.0.0.1", "auth": ".*@example.org"}, "10.0.0.1"),
        ({"unix_socket": "/run/flower.sock"}, ""),
    ],
)
def test_these_start(given: dict[str, object], address: str) -> None:
    """On this machine by default, elsewhere with a password."""
    found = options(**given)

    protect(found)

    assert found.address == address


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org"])
def test_these_are_open_to_strangers(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And are refused."""
    with pytest.raises(SystemExit, match="2"):
        protect(options(address=address))

    assert f"Flower on {address} would be open" in capsys.readouterr().err


@pytest.mark.parametrize("credentials", ["", "me", "me:", ":secret"])
def test_half_a_password_is_none(credentials: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Such as an empty FLOWER_BASIC_AUTH; it is not shown."""
    with pytest.raises(SystemExit, match="2"):
        protect(options(basic_auth=["me:secret", credentials]))

    said = capsys.readouterr().err
    assert "must be user:password" in said
    assert "secret" not in said


def test_what_flower_knows_passes() -> None:
    """However it is spelt: with one hyphen or two, with hyphens or underscores in between."""
    refuse_unknown(["--address=::1", "-address=::1", "--basic-auth=me:s=3", "--basic_auth=a:b", "--auth"], options())


def test_tasks_are_shown_with_their_arguments() -> None:
    """They name the event; columns that somebody chose stay."""
    plain, chosen = options(), options(tasks_columns="name,state")

    protect(plain)
    protect(chosen)

    assert plain.tasks_columns.split(",")[:3] == ["name", "args", "state"]
    assert chosen.tasks_columns == "name,state"
