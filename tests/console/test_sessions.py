"""Sessions and throttling by the clock: what ends, when it ends; and streams that end with it."""

import asyncio
import hashlib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from eventbus import EventBus
from eventbus.console import Role, User, create_app, streaming, throttling
from eventbus.console.sessions import IDLE, LIFETIME, Browser, Cookies, Sessions
from eventbus.console.settings import ConsoleSettings
from eventbus.console.throttling import WINDOW_SECONDS, Throttle
from eventbus.console.users import Passwords, UserFile, user_line
from tests.console.client import Client
from tests.console.seed import Seed
from tests.console.serving import serving
from tests.console.streams import listen
from tests.console.test_readings import Clock


def same(_name: str) -> str:
    return "fingerprint"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_session_ends_when_nobody_uses_it(clock: Clock) -> None:
    """After an hour without a request; what a page asks by itself does not count."""
    sessions, browser = Sessions(clock=clock), Cookies().meet(None)
    sessions.open(browser, "alice", "fingerprint")

    clock.now += IDLE.total_seconds()
    assert sessions.user_of(browser, same) == "alice"
    clock.now += IDLE.total_seconds()
    assert sessions.user_of(browser, same, is_active=False) == "alice"
    clock.now += 1

    assert sessions.user_of(browser, same) is None


def test_a_session_ends_after_its_day(clock: Clock) -> None:
    """However much it is used."""
    sessions, browser = Sessions(clock=clock), Cookies().meet(None)
    sessions.open(browser, "alice", "fingerprint")
    for _ in range(int(LIFETIME / IDLE)):
        clock.now += IDLE.total_seconds()
        assert sessions.user_of(browser, same) == "alice"

    clock.now += 1

    assert sessions.user_of(browser, same) is None


def test_a_session_is_that_of_one_console(seed: Seed, tmp_path: Path) -> None:
    """Another one with the same secret, or the same one started anew, knows the browser and not its login."""
    path = tmp_path / "users"
    path.write_text(user_line("alice", Role.VIEWER, "correct horse battery", cost=1 << 10))
    settings = ConsoleSettings(access=Passwords(UserFile(path)), secret="the same one for both, and long enough")
    here, there = (Client(create_app(seed.bus, settings=settings)) for _ in range(2))
    assert here.press("/login", "/login", name="alice", password="correct horse battery").url.path == "/"

    there.cookies.update(here.cookies)

    assert there.get("/").url.path == "/login"
    assert here.get("/").url.path == "/"


def test_a_session_ends_with_its_password(clock: Clock) -> None:
    """One that was stolen is worth nothing once the password is another."""
    sessions, browser = Sessions(clock=clock), Cookies().meet(None)
    sessions.open(browser, "alice", "old")

    assert sessions.user_of(browser, lambda name: "new") is None
    assert sessions.user_of(browser, lambda name: "old") is None


def test_a_password_that_is_changed_during_a_login_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has stolen the old one and logs in at that moment is not let in as if it were the new one."""
    path, scrypt = tmp_path / "users", hashlib.scrypt
    old, new = (user_line("alice", Role.VIEWER, f"{word} password", cost=1 << 10) for word in ("the old", "the new"))
    path.write_text(old)
    bus = EventBus.from_env(database_url="postgresql://x/y", broker_url="redis://x")
    client = Client(create_app(bus, settings=ConsoleSettings(access=Passwords(UserFile(path)))), follow_redirects=False)

    def change(*arguments: Any, **options: Any) -> bytes:
        path.write_text(new)
        return scrypt(*arguments, **options)

    monkeypatch.setattr(hashlib, "scrypt", change)
    answer = client.press("/login", "/login", name="alice", password="the old password")

    assert answer.headers["location"] == "/"
    assert client.get("/audit").headers["location"].startswith("/login")


def test_sessions_do_not_fill_the_memory(clock: Clock) -> None:
    """The oldest make room."""
    sessions = Sessions(most=3, clock=clock)
    browsers = [Browser(id=str(number), is_new=True) for number in range(4)]
    for browser in browsers:
        sessions.open(browser, "alice", "fingerprint")

    assert sessions.user_of(browsers[0], same) is None
    assert sessions.user_of(browsers[1], same) == sessions.user_of(browsers[-1], same) == "alice"


def test_sessions_that_are_over_make_room_first(clock: Clock) -> None:
    """Nobody who is there is logged out for one who has left."""
    sessions = Sessions(most=2, clock=clock)
    here, gone, new = (Browser(id=name, is_new=True) for name in ("here", "gone", "new"))
    sessions.open(here, "alice", "fingerprint")
    sessions.open(gone, "bob", "fingerprint")
    for _ in range(2):
        clock.now += IDLE.total_seconds()
        sessions.user_of(here, same)

    sessions.open(new, "carol", "fingerprint")

    assert [sessions.user_of(each, same) for each in (here, gone, new)] == ["alice", None, "carol"]


def test_what_a_page_asks_by_itself_keeps_no_session_alive(
    own_seed: Seed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tab that is open all night is logged out as if it were not."""
    path = tmp_path / "users"
    path.write_text(user_line("alice", Role.OPERATOR, "correct horse battery", cost=1 << 10))
    app = create_app(own_seed.bus, settings=ConsoleSettings(access=Passwords(UserFile(path))))
    client = Client(app)
    client.press("/login", "/login", name="alice", password="correct horse battery")
    cookie = {"cookie": f"eventbus_console={client.cookies['eventbus_console']}"}
    asked: list[bool] = []
    find = Sessions.user_of

    def user_of(*arguments: Any, is_active: bool) -> str | None:
        asked.append(is_active)
        return find(*arguments, is_active=is_active)

    monkeypatch.setattr(Sessions, "user_of", user_of)
    client.get("/audit")
    by_person = asked.copy()
    asked.clear()
    for stream in ("/live/audit", "/live/events"):
        assert asyncio.run(listen(app, stream, headers=cookie)).status == 200

    assert by_person == [True]
    assert set(asked) == {False}


def test_two_processes_with_one_secret_know_each_others_browsers() -> None:
    """And with secrets of their own they do not."""
    secret = "s" * 32
    one, two, other = Cookies(secret), Cookies(secret), Cookies()
    browser = one.meet(None)

    assert two.meet(one.cookie(browser)) == Browser(id=browser.id, is_new=False)
    assert two.is_token(one.token(browser, "alice"), browser, "alice")
    assert other.meet(one.cookie(browser)).is_new
    assert not other.is_token(one.token(browser, "alice"), browser, "alice")


def test_guessing_is_possible_again_later(clock: Clock) -> None:
    """When the first of the failures is five minutes old; a login that succeeds forgives the failures before it."""
    throttle = Throttle(clock=clock)
    for _ in range(5):
        throttle.note_failure("alice", "10.0.0.1")
        clock.now += 10

    assert throttle.wait_seconds("alice", "10.0.0.1") == WINDOW_SECONDS - 50
    assert throttle.wait_seconds("alice", "10.0.0.2") == throttle.wait_seconds("bob", "10.0.0.1") == 0
    clock.now += WINDOW_SECONDS - 50
    assert throttle.wait_seconds("alice", "10.0.0.1") == 0

    for _ in range(4):
        throttle.note_failure("bob", "10.0.0.1")
    throttle.forgive("bob", "10.0.0.1")
    throttle.note_failure("bob", "10.0.0.1")
    assert throttle.wait_seconds("bob", "10.0.0.1") == 0


def test_a_login_of_ones_own_forgives_no_guesses_at_others(clock: Clock) -> None:
    """Whoever has a password may not guess others' without end from one address."""
    throttle = Throttle(clock=clock)
    for number in range(20):
        throttle.note_failure(f"user{number}", "10.0.0.1")
        throttle.note_failure("mallory", "10.0.0.1")
        throttle.forgive("mallory", "10.0.0.1")

    assert throttle.wait_seconds("alice", "10.0.0.1") > 0
    assert throttle.wait_seconds("mallory", "10.0.0.2") == 0


def test_right_logins_close_nothing(clock: Clock) -> None:
    """However many come from one address, as in an office, or to one name."""
    throttle = Throttle(clock=clock)
    for number in range(60):
        for name in ("alice", f"user{number}"):
            throttle.note_failure(name, "10.0.0.1")
            throttle.forgive(name, "10.0.0.1")

    assert throttle.wait_seconds("alice", "10.0.0.1") == throttle.wait_seconds("bob", "10.0.0.1") == 0


def test_many_addresses_do_not_help_to_guess(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do they fill the memory."""
    monkeypatch.setattr(throttling, "_MOST_KEYS", 60)
    throttle = Throttle(clock=clock)
    for number in range(50):
        throttle.note_failure("alice", f"10.0.0.{number}")

    assert throttle.wait_seconds("alice", "192.168.0.1") > 0
    assert len(throttle._failures) == 60


def test_streams_are_limited(seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many open pages at once; whoever opens one more is told so."""
    monkeypatch.setattr(streaming, "MOST_STREAMS", 0)

    answer = Client(create_app(seed.bus)).get("/live")

    assert (answer.status_code, "Too many pages are open" in answer.text) == (503, True)


def test_one_user_leaves_streams_to_others(seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """And can open another one when one of theirs has ended."""
    monkeypatch.setattr(streaming, "MOST_OF_ONE_USER", 1)
    with serving(create_app(seed.bus, check=lambda request: User(name=request.headers["x-user"]))) as url:

        def stream(user: str) -> Any:
            return urllib.request.urlopen(urllib.request.Request(f"{url}/live", headers={"X-User": user}), timeout=20)

        with stream("ann") as first:
            first.readline()
            with pytest.raises(urllib.error.HTTPError) as refused:
                stream("ann")
            with stream("bob") as other:
                assert other.status == 200

        assert refused.value.code == 503
        refused.value.close()


def test_a_tail_tells_nothing_after_the_logout(own_seed: Seed, tmp_path: Path) -> None:
    """Not even the event that it was waiting for."""
    path = tmp_path / "users"
    path.write_text(user_line("alice", Role.OPERATOR, "correct horse battery", cost=1 << 10))
    app = create_app(own_seed.bus, settings=ConsoleSettings(access=Passwords(UserFile(path))))
    with serving(app) as url:
        client = Client(app, base_url=url)
        client.press("/login", "/login", name="alice", password="correct horse battery")
        cookie = f"eventbus_console={client.cookies['eventbus_console']}"
        request = urllib.request.Request(f"{url}/live/events?pattern=tail.*", headers={"Cookie": cookie})
        with urllib.request.urlopen(request, timeout=20) as stream:
            assert stream.readline() == b": still here\n"
            client.press("/", "/logout")
            own_seed.bus.publish("tail.heard", {}, source="tests")
            lines = stream.readlines()

    assert lines == [b"\n", b"event: goodbye\n", b"data: {}\n", b"\n"]


def test_a_stream_ends_with_its_session(seed: Seed, tmp_path: Path) -> None:
    """A tab that was left open tells nothing more after the logout; its page is told, and leads to the login."""
    path = tmp_path / "users"
    path.write_text(user_line("alice", Role.OPERATOR, "correct horse battery", cost=1 << 10))
    app = create_app(seed.bus, settings=ConsoleSettings(access=Passwords(UserFile(path))))
    with serving(app) as url:
        client = Client(app, base_url=url)
        client.press("/login", "/login", name="alice", password="correct horse battery")
        cookie = f"eventbus_console={client.cookies['eventbus_console']}"
        request = urllib.request.Request(f"{url}/live", headers={"Cookie": cookie})
        with urllib.request.urlopen(request, timeout=20) as stream:
            assert stream.readline() == b"event: fragment\n"
            client.press("/", "/logout")
            lines = stream.readlines()

    assert lines[-3:-1] == [b"event: goodbye\n", b"data: {}\n"]
