"""Attacks on the console: each thing that somebody might try, and that must not work."""

import asyncio
import http.client
import re
from collections.abc import Callable
from contextlib import closing
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from itsdangerous import URLSafeTimedSerializer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from eventbus import EventBus
from eventbus.console import Role, User, create_app
from eventbus.console.access import Asked, LocalOnly, Proxied, Refused
from eventbus.console.notices import NOTICE
from eventbus.console.numbers import Number
from eventbus.console.page import Changing, Live, Shown, Tailing
from eventbus.console.pages import PAGES
from eventbus.console.peer import address_of, host_of, is_local_host, is_secure, parse_networks
from eventbus.console.settings import ConsoleSettings
from eventbus.console.users import Passwords, UserFile, user_line
from tests.console.client import Client
from tests.console.routes import path_of
from tests.console.seed import EVIL, Seed

PASSWORDS = {"alice": "correct horse battery", "bob": "staple staple staple"}
CHANGING = [route for page in PAGES for route in page.routes if isinstance(route, Changing)]
READING = [route for page in PAGES for route in page.routes if isinstance(route, Shown)]
STREAMING = [route for page in PAGES for route in page.routes if isinstance(route, Live | Tailing)]

by_path = pytest.mark.parametrize("route", CHANGING, ids=lambda route: route.path)


def line(name: str, role: Role, password: str) -> str:
    """A line of a file of users, whose hash is made quickly: a test logs in many times."""
    return user_line(name, role, password, cost=1 << 10)


def fingerprint(bus: EventBus) -> list[object]:
    """What an attack must leave as it is: who changed what, and what is open."""
    return [
        [entry.id for entry in bus.audit()],
        bus.stats(),
        [item.paused for item in bus.groups()],
        len(bus.replays()),
    ]


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> UserFile:
    """alice may operate, bob may look."""
    path = tmp_path_factory.mktemp("users") / "users"
    roles = {"alice": Role.OPERATOR, "bob": Role.VIEWER}
    path.write_text("\n".join(line(name, roles[name], password) for name, password in PASSWORDS.items()))
    return UserFile(path)


@pytest.fixture
def guarded(seed: Seed, users: UserFile) -> Starlette:
    """The console of the seeded bus, with a login."""
    return create_app(seed.bus, settings=ConsoleSettings(access=Passwords(users)))


OpenSession = Callable[[str], Client]


@pytest.fixture
def log_in(guarded: Starlette) -> OpenSession:
    """A function that logs somebody in: their browser."""

    def enter(name: str) -> Client:
        client = Client(guarded)
        answer = client.press("/login", "/login", name=name, password=PASSWORDS[name])
        assert (answer.status_code, answer.url.path) == (200, "/")
        return client

    return enter


# --- injection --------------------------------------------------------------------------------------------------------


def test_what_is_evil_is_shown_and_never_runs(seed: Seed, client: Client) -> None:
    """A payload, an error, a source, a correlation id with markup in it: text on every page that shows them, nothing else."""
    for route in READING:
        text = client.text(path_of(route.path, seed), status=client.get(path_of(route.path, seed)).status_code)
        assert "<script>window" not in text, route.path
        assert "<img src=x" not in text, route.path
        assert "&amp;49" not in text, route.path


@pytest.mark.parametrize("route", READING, ids=lambda route: route.path)
def test_what_an_address_asks_for_is_text(seed: Seed, client: Client, route: Shown) -> None:
    """Markup in any filter that a page knows, or does not know, comes back escaped, or not at all."""
    names = (
        "id",
        "pattern",
        "correlation_id",
        "group",
        "state",
        "error",
        "since",
        "until",
        "cursor",
        "q",
        "type",
        "status",
    )

    for name in names:
        answer = client.get(path_of(route.path, seed), params={name: EVIL}, follow_redirects=False)
        assert answer.status_code < 500, (name, answer.text)
        assert "<script>window" not in answer.text, name
        assert "<img src=x" not in answer.text, name


# --- forms of other sites ---------------------------------------------------------------------------------------------


@by_path
def test_a_form_without_its_token_changes_nothing(seed: Seed, client: Client, route: Changing) -> None:
    """Missing, empty, wrong, twice, or of another browser: 403, and not a row differs."""
    path, before = path_of(route.path, seed), fingerprint(seed.bus)
    own, others = client.token("/groups/inventory"), Client(client.app).token("/groups/inventory")

    for tokens in ([], [""], ["x" * 64], [others], [own, own], [own[:-1]], ["é" * 64]):
        answer = client.post(path, data={"token": tokens, "confirmed": "yes", "reason": "x", "group": "inventory"})
        assert answer.status_code == 403, tokens

    assert fingerprint(seed.bus) == before


@by_path
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://[::1"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_a_form_that_another_site_sent_changes_nothing(
    seed: Seed, client: Client, route: Changing, headers: dict[str, str]
) -> None:
    """Even with the right token."""
    before = fingerprint(seed.bus)

    answer = client.post(
        path_of(route.path, seed),
        data={"token": client.token("/groups/inventory"), "confirmed": "yes"},
        headers=headers,
    )

    assert answer.status_code == 403
    assert fingerprint(seed.bus) == before


@by_path
def test_no_address_changes_anything(seed: Seed, client: Client, route: Changing) -> None:
    """A link, an image or a preload asks with GET or HEAD: what changes something does not hear them."""
    before = fingerprint(seed.bus)

    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
        query = {"token": client.token("/groups/inventory"), "confirmed": "yes"}
        answer = client.request(method, path_of(route.path, seed), params=query, follow_redirects=False)
        assert answer.status_code in (200, 303, 404, 405), method

    assert fingerprint(seed.bus) == before


def test_only_a_form_is_a_form(seed: Seed, client: Client) -> None:
    """JSON and text can be sent by other sites' scripts without asking; forms in parts need a parser that nobody needs."""
    token = client.token("/groups/inventory")

    for headers, content in (
        ({"content-type": "application/json"}, f'{{"token": "{token}", "confirmed": "yes"}}'),
        ({"content-type": "text/plain"}, f"token={token}&confirmed=yes"),
        ({}, f"token={token}&confirmed=yes"),
        ({"content-type": "multipart/form-data; boundary=x"}, "--x--"),
    ):
        answer = client.post("/groups/inventory/pause", content=content, headers=headers)
        assert answer.status_code == 400


def test_a_form_is_utf_8(client: Client) -> None:
    """What is none is refused, not mended; how its kind is written does not matter, nor whether an old browser says its site."""
    token = client.token("/groups/inventory")
    kind = "application/x-www-form-urlencoded"

    def status(content: bytes, **headers: str) -> int:
        given = {"content-type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return client.post("/groups/inventory/pause", content=content, headers=given).status_code

    sent = f"token={token}".encode()

    assert [status(sent + bad) for bad in (b"&reason=\xff", b"&reason=%ff")] == [400, 400]
    assert status(sent, content_type=f"{kind.title()} ; charset=UTF-8") == 200
    assert [status(sent, sec_fetch_site=site) for site in ("same-origin", "none")] == [200, 200]


# --- cookies ----------------------------------------------------------------------------------------------------------


def test_a_forged_cookie_is_nobodys(guarded: Starlette, log_in: OpenSession) -> None:
    """Not signed, signed by another, altered, or without its signature: as if there were none."""
    alice = log_in("alice")
    real = alice.cookies["eventbus_console"]
    id, _, signature = real.rpartition(".")
    other = Client(create_app(EventBus.from_env(database_url="postgresql://x/y", broker_url="redis://x")))
    foreign = other.get("/").cookies.get("eventbus_console", "none")

    for cookie in (
        "",
        "x",
        id,
        f"{id}.",
        f"{id}x.{signature}",
        f"{id}.{signature[:-2]}",
        f".{signature}",
        foreign,
        real * 2,
    ):
        stranger = Client(guarded)
        stranger.cookies.set("eventbus_console", cookie)
        assert stranger.get("/audit", follow_redirects=False).status_code == 303, cookie

    assert alice.get("/audit").status_code == 200


def test_a_notice_is_read_once(own_seed: Seed) -> None:
    """On the page that follows the change; that of a later change is not lost with one that nobody has read."""
    client = Client(create_app(own_seed.bus), follow_redirects=False)
    page = client.text("/groups/analytics")

    answers = [client.submit(page, "/groups/analytics/resume") for _ in range(2)]
    first, second = client.text("/groups/analytics"), client.text("/groups/analytics")

    # Of two cookies of one name a browser keeps the last; this client the one that is not deleted.
    assert [answer.headers["set-cookie"].count(NOTICE) for answer in answers] == [1, 1]
    assert ("analytics was not paused." in first, "analytics was not paused." in second) == (True, False)


def test_a_page_without_a_notice_leaves_cookies_alone(client: Client) -> None:
    """One tab takes away neither what another has still to read, nor what its forms were made for."""
    client.text("/audit")

    assert "set-cookie" not in client.get("/audit").headers


def test_a_forged_notice_says_nothing(seed: Seed) -> None:
    """What a page tells in our name was written by this console: not by others, nor by another console."""
    ours, others = (
        URLSafeTimedSerializer(secret, salt="eventbus.console.notice").dumps("It was us.")
        for secret in ("s" * 32, "t" * 32)
    )
    client = Client(create_app(seed.bus, settings=ConsoleSettings(access=LocalOnly(), secret="s" * 32)))

    for cookie, is_shown in ((ours, True), (others, False), (ours[:-1], False), ("It was us.", False), ("", False)):
        answer = client.get("/audit", headers={"cookie": f"{NOTICE}={cookie}"})
        assert (answer.status_code, "It was us." in answer.text) == (200, is_shown), cookie


def test_a_replayed_cookie_is_nobodys_after_the_logout(guarded: Starlette, log_in: OpenSession) -> None:
    """The session is the server's: a copy of the cookie ends with it."""
    alice = log_in("alice")
    thief = Client(guarded)
    thief.cookies.set("eventbus_console", alice.cookies["eventbus_console"])
    assert thief.get("/audit", follow_redirects=False).status_code == 200

    alice.press("/", "/logout")

    assert thief.get("/audit", follow_redirects=False).status_code == 303
    assert alice.get("/audit", follow_redirects=False).status_code == 303


def test_a_login_gives_a_new_cookie(guarded: Starlette) -> None:
    """Whoever planted a cookie in somebody's browser before they logged in has nothing of it."""
    victim, planter = Client(guarded), Client(guarded)
    planter.get("/login")
    planted = planter.cookies["eventbus_console"]
    victim.cookies.set("eventbus_console", planted, domain="127.0.0.1", path="/")

    victim.press("/login", "/login", name="alice", password=PASSWORDS["alice"])

    assert planter.get("/audit", follow_redirects=False).status_code == 303


def test_the_cookie_is_kept_from_scripts_and_other_sites(guarded: Starlette) -> None:
    """HttpOnly, SameSite, for this console's path only; Secure where the browser speaks https."""
    plain = Client(guarded).get("/login").headers["set-cookie"]
    secure = Client(guarded, base_url="https://console.example").get("/login").headers["set-cookie"]

    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in plain.split(";")}
    assert "Secure" not in plain
    assert "Secure" in secure


# --- roles ------------------------------------------------------------------------------------------------------------


@by_path
def test_a_viewer_changes_nothing(seed: Seed, log_in: OpenSession, route: Changing) -> None:
    """Every path that changes something refuses whoever may only look, with the right token and confirmed."""
    bob, before = log_in("bob"), fingerprint(seed.bus)

    answer = bob.post(
        path_of(route.path, seed),
        data={"token": bob.token("/groups/inventory"), "confirmed": "yes", "reason": "x", "group": "inventory"},
    )

    assert (answer.status_code, "only operators" in answer.text) == (403, True)
    assert fingerprint(seed.bus) == before


def test_a_viewer_is_offered_no_change(seed: Seed, log_in: OpenSession) -> None:
    """No page of theirs has a form that would change something."""
    bob = log_in("bob")

    for route in READING:
        text = bob.get(path_of(route.path, seed)).text
        posting = re.findall(r"<form[^>]*method=\"post\"[^>]*action=\"([^\"]*)\"", text)
        assert set(posting) <= {"/logout"}, route.path


@pytest.mark.parametrize(
    "route", [*READING, *STREAMING, *CHANGING], ids=lambda route: f"{type(route).__name__} {route.path}"
)
def test_nobody_sees_anything_without_a_login(
    seed: Seed, guarded: Starlette, route: Shown | Changing | Live | Tailing
) -> None:
    """Every path of every page leads to the login; what no person asks for says that there is one, and leaves cookies alone."""
    method = "POST" if isinstance(route, Changing) else "GET"

    answer = Client(guarded).request(method, path_of(route.path, seed), follow_redirects=False)

    assert answer.text == ""
    assert "set-cookie" not in answer.headers
    if route.path.endswith(".json") or isinstance(route, Live | Tailing):
        assert answer.status_code == 401
    else:
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login")


def test_a_program_is_told_what_to_bring(seed: Seed, log_in: OpenSession) -> None:
    """The line to fetch an event names the cookie."""
    bob = log_in("bob")

    text = unescape(bob.text(f"/events/{seed.order.id}"))

    assert f"curl -fsS -b eventbus_console=... http://127.0.0.1/events/{seed.order.id}.json" in text


def test_a_program_is_told_where_the_proxy_shows_us(seed: Seed) -> None:
    """Not by which name the proxy reaches us."""
    proxies = parse_networks("P", "10.0.0.0/8")
    access = Proxied("X-Forwarded-User", proxies=proxies, operators=[])
    app = create_app(seed.bus, settings=ConsoleSettings(access=access, proxies=proxies))
    client = Client(app, address="10.1.2.3", base_url="http://upstream:8321")
    client.headers |= {"x-forwarded-user": "bob", "x-forwarded-host": "bus.example", "x-forwarded-proto": "https"}

    assert f"curl -fsS https://bus.example/events/{seed.order.id}.json" in client.text(f"/events/{seed.order.id}")


def test_a_role_is_what_the_file_says_now(seed: Seed, tmp_path: Path) -> None:
    """Whoever is demoted, removed or given another password loses what they had, at once and in open sessions."""
    path = tmp_path / "users"
    carol = line("carol", Role.OPERATOR, "a long password")
    path.write_text(carol)
    client = Client(create_app(seed.bus, settings=ConsoleSettings(access=Passwords(UserFile(path)))))
    client.press("/login", "/login", name="carol", password="a long password")
    assert "Pause" in client.text("/groups/inventory")

    path.write_text(carol.replace(":operator:", ":viewer:"))
    assert "Pause" not in client.text("/groups/inventory")
    path.write_text(line("carol", Role.OPERATOR, "another password"))
    assert client.get("/audit", follow_redirects=False).status_code == 303
    path.write_text("nonsense")
    assert client.get("/audit", follow_redirects=False).status_code == 303


# --- guessing ---------------------------------------------------------------------------------------------------------


def test_guessing_passwords_is_slow(guarded: Starlette) -> None:
    """After five failures the name is closed to that address, even for the right password; others go on."""
    client = Client(guarded)

    statuses = [client.press("/login", "/login", name="alice", password="wrong").status_code for _ in range(6)]
    closed = client.press("/login", "/login", name="alice", password=PASSWORDS["alice"])
    elsewhere = Client(guarded, address="127.0.0.9").press(
        "/login", "/login", name="alice", password=PASSWORDS["alice"]
    )

    assert statuses == [403] * 5 + [429]
    assert (closed.status_code, int(closed.headers["retry-after"]) > 200) == (429, True)
    assert elsewhere.url.path == "/"


def test_logins_are_logged(guarded: Starlette, caplog: pytest.LogCaptureFixture) -> None:
    """Who, from where, and whether; but neither passwords nor names that nobody has, which may be one."""
    caplog.set_level("INFO", logger="eventbus.console.login")
    client = Client(guarded)
    text = client.text("/login")

    for name, password in (("alice", "wrong"), ("s3cr3t-name", "s3cr3t"), ("alice", PASSWORDS["alice"])):
        client.submit(text, "/login", name=name, password=password)
    for _ in range(6):
        client.press("/login", "/login", name="bob", password="wrong")

    records = [record for record in caplog.records if record.name == "eventbus.console.login"]
    told = [(record.message, vars(record)["user"], vars(record)["address"]) for record in records]
    assert told[:4] == [
        ("console_login_failed", "alice", "127.0.0.1"),
        ("console_login_failed", None, "127.0.0.1"),
        ("console_login", "alice", "127.0.0.1"),
        ("console_login_failed", "bob", "127.0.0.1"),
    ]
    assert told[-1] == ("console_login_throttled", "bob", "127.0.0.1")
    assert not any("s3cr3t" in str(vars(record)) for record in records)


def test_many_names_from_one_address_are_slow_too(guarded: Starlette) -> None:
    """Twenty failures, whatever the names."""
    client = Client(guarded)
    text = client.text("/login")

    statuses = [client.submit(text, "/login", name=f"user{n}", password="").status_code for n in range(21)]

    assert statuses == [403] * 20 + [429]


def test_a_login_does_not_say_who_exists(guarded: Starlette) -> None:
    """The same words for a name that is unknown and for a password that is wrong."""
    unknown, wrong = (
        re.sub(r"value=\"[^\"]*\"", "", Client(guarded).press("/login", "/login", name=name, password="wrong").text)
        for name in ("nobody", "bob")
    )

    assert unknown == wrong


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "\\\\evil", "/a\nb"]
)
def test_a_login_leads_nowhere_else(guarded: Starlette, target: str) -> None:
    """An address that another site made cannot use our login to lead on to theirs."""
    client = Client(guarded)

    page = client.get("/login", params={"next": target})
    answer = client.submit(page.text, "/login", name="bob", password=PASSWORDS["bob"])

    assert answer.history[0].headers["location"] == "/"
    assert answer.url.host == "127.0.0.1"


def test_a_login_leads_to_what_was_asked_for(guarded: Starlette) -> None:
    """A page that was shared is shown after the login, with its filters."""
    client = Client(guarded)

    page = client.get("/audit?cursor=5")
    answer = client.submit(page.text, "/login", name="bob", password=PASSWORDS["bob"])

    assert str(answer.url).endswith("/audit?cursor=5")


def test_a_login_leads_to_what_has_a_long_address(guarded: Starlette) -> None:
    """As that of a trial has, or one of many filters."""
    client = Client(guarded)

    page = client.get(f"/audit?{'x' * 5000}")
    answer = client.submit(page.text, "/login", name="bob", password=PASSWORDS["bob"])

    assert (answer.status_code, str(answer.url).endswith("x" * 5000)) == (200, True)


def test_logging_in_is_no_failure(log_in: OpenSession) -> None:
    """However often somebody does it."""
    assert [log_in("bob").get("/audit").status_code for _ in range(7)] == [200] * 7


def test_a_login_ends_the_session_before_it(guarded: Starlette, log_in: OpenSession) -> None:
    """Whoever logs in as somebody else leaves nothing open behind them, not even for a copy of the old cookie."""
    person, thief = log_in("alice"), Client(guarded)
    thief.cookies.set("eventbus_console", person.cookies["eventbus_console"])

    person.press("/login", "/login", name="bob", password=PASSWORDS["bob"])

    assert thief.get("/audit", follow_redirects=False).status_code == 303
    assert "bob <small>(viewer)" in person.text("/audit")


def test_a_login_form_that_is_out_of_date_still_leads_there(guarded: Starlette) -> None:
    """As where tabs that open at once are each given a form, and one cookie: trying again is all there is to do."""
    client = Client(guarded)
    page = client.get("/audit?cursor=5")
    client.cookies.clear()
    client.get("/")

    refused = client.submit(page.text, "/login", name="bob", password=PASSWORDS["bob"])
    answer = client.submit(refused.text, "/login", name="bob", password=PASSWORDS["bob"])

    assert (refused.status_code, "out of date" in refused.text) == (403, True)
    assert str(answer.url).endswith("/audit?cursor=5")


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_a_login_that_is_no_form_is_one_sentence(guarded: Starlette, path: str) -> None:
    """As is a name, or a password, that nobody has."""
    client = Client(guarded)
    token = client.token("/login")

    answers = [
        client.post(path, json={"token": token}),
        client.post("/login", data={"token": token, "name": "n" * 201}),
        client.post("/login", data={"token": token, "name": "bob", "password": "p" * 1001}),
    ]

    assert [answer.status_code for answer in answers] == [400] * 3


def test_a_login_stays_below_the_path_of_the_console(seed: Seed, users: UserFile) -> None:
    """Where another app mounts it: its addresses, and its cookie, which the logout takes back."""
    console = create_app(seed.bus, settings=ConsoleSettings(access=Passwords(users)))
    client = Client(Starlette(routes=[Mount("/bus", console)]), follow_redirects=False)
    asked = client.get("/bus/audit?cursor=5")
    form = client.get(asked.headers["location"])

    entered = client.submit(form.text, "/bus/login", name="bob", password=PASSWORDS["bob"])
    left = client.press("/bus/audit", "/bus/logout")

    assert [answer.headers["location"] for answer in (asked, entered, left)] == [
        "/bus/login?next=%2Faudit%3Fcursor%3D5",
        "/bus/audit?cursor=5",
        "/bus/login",
    ]
    assert ["Path=/bus/" in answer.headers["set-cookie"] for answer in (form, entered, left)] == [True] * 3
    assert "Max-Age=0" in left.headers["set-cookie"]
    assert "eventbus_console" not in client.cookies


def test_a_login_needs_its_own_form(guarded: Starlette) -> None:
    """Nobody is logged in as somebody else by another site's form."""
    client = Client(guarded)
    client.get("/login")

    answer = client.post("/login", data={"name": "bob", "password": PASSWORDS["bob"], "token": "x"})

    assert answer.status_code == 403
    assert client.get("/audit", follow_redirects=False).status_code == 303


def test_nobody_is_logged_out_by_another_site(guarded: Starlette, log_in: OpenSession) -> None:
    """Without the token, with another's, or from elsewhere with the right one: the session goes on."""
    alice, token = log_in("alice"), Client(guarded).token("/login")

    for sent, headers in (("", {}), (token, {}), (alice.token("/groups/inventory"), {"origin": "http://evil.example"})):
        assert alice.post("/logout", data={"token": sent}, headers=headers).status_code == 403

    assert alice.get("/audit", follow_redirects=False).status_code == 200


# --- hosts, proxies, paths --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "0.0.0.0",
        "10.0.0.1",
        "[::2]",
        "",
    ],
)
def test_a_name_that_was_made_to_point_here_is_refused(client: Client, host: str) -> None:
    """A site whose name changes to 127.0.0.1 reads nothing, and changes nothing."""
    for path in ("/", "/groups/inventory", "/live"):
        assert client.get(path, headers={"host": host}).status_code == 403

    assert client.post("/groups/inventory/pause", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8321", "127.0.0.1:1", "127.1.2.3", "[::1]:80"])
def test_this_machines_names_are_good(client: Client, host: str) -> None:
    """However one gets here."""
    assert client.get("/audit", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Server",
        "Forwarded",
        "Via",
        "CF-Connecting-IP",
        "X-Client-IP",
    ],
)
def test_a_console_without_a_login_hides_behind_no_proxy(client: Client, name: str) -> None:
    """What a proxy on this machine passes on comes from anybody."""
    assert client.get("/", headers={name: "10.0.0.1"}).status_code == 403


def test_a_proxy_that_adds_no_header_is_known_by_its_http(served: str) -> None:
    """Some speak HTTP/1.0 to us unless they are told otherwise, and browsers do not."""
    connection = http.client.HTTPConnection(served.removeprefix("http://"))
    connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"

    with closing(connection):
        connection.request("GET", "/audit", headers={"Host": "127.0.0.1"})
        assert connection.getresponse().status == 403


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["6.6.6.6", "10.0.0.9"], "10.0.0.9"),
        (["6.6.6.6, 10.0.0.9"], "10.0.0.9"),
        (["10.0.0.9", "nonsense"], "10.1.2.3"),
        (["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
        (["::ffff:10.0.0.9"], "10.0.0.9"),
        ([], "10.1.2.3"),
    ],
)
def test_an_address_is_what_the_proxy_says(lines: list[str], address: str) -> None:
    """Whatever the browser has said before it; and whoever has a network of addresses is still one."""
    request = Request(
        {
            "type": "http",
            "client": ("10.1.2.3", 1),
            "headers": [(b"x-forwarded-for", line.encode()) for line in lines]
            + [(b"x-forwarded-host", name) for name in (b"evil.example", b"evil.example, bus.example")],
        }
    )
    proxies = parse_networks("P", "10.1.2.3")

    assert address_of(request, proxies) == address
    assert host_of(request, proxies) == "bus.example"


@pytest.mark.parametrize(
    ("scheme", "lines", "secure"),
    [
        ("http", ["https"], True),
        ("http", ["HTTPS"], True),
        ("http", ["https, http"], False),
        ("http", [], False),
        ("https", ["http"], True),
    ],
)
def test_a_trusted_proxy_says_whether_the_browser_speaks_https(scheme: str, lines: list[str], secure: bool) -> None:
    """So that the cookie is sent by https alone; the last one counts, for others may be the browser's own."""
    headers = [(b"host", b"console"), *((b"x-forwarded-proto", line.encode()) for line in lines)]
    scope = {"type": "http", "scheme": scheme, "path": "/", "client": ("10.1.2.3", 1), "headers": headers}

    assert is_secure(Request(scope), parse_networks("P", "10.1.2.3")) is secure


@pytest.mark.parametrize("peer", [None, ("", 0), ("/run/proxy.sock", 0)])
def test_a_connection_without_an_address_is_nobodys(peer: tuple[str, int] | None) -> None:
    """As through a Unix socket: who is behind it is not known, so it is no proxy and not this machine."""
    headers = [(b"host", b"localhost"), (b"x-forwarded-for", b"10.0.0.9"), (b"x-user", b"alice")]
    request = Request({"type": "http", "client": peer, "headers": headers})
    everywhere = parse_networks("P", "0.0.0.0/0,::/0")

    assert address_of(request, everywhere) == "unknown"
    for access in (LocalOnly(), Proxied("X-User", proxies=everywhere, operators=["alice"])):
        with pytest.raises(Refused):
            asyncio.run(access.identify(Asked(request=request)))


def test_two_hosts_are_none() -> None:
    """Which of them the browser meant is not known."""
    headers = [(b"host", b"localhost"), (b"host", b"evil.example")]

    for given in (headers, headers[::-1], []):
        assert not is_local_host(Request({"type": "http", "headers": given}))


def test_nobody_but_a_trusted_proxy_says_where_a_request_comes_from() -> None:
    """Else one guesses passwords from as many addresses as one makes up, and calls any site ours."""
    request = Request(
        {
            "type": "http",
            "scheme": "http",
            "path": "/login",
            "client": ("192.168.0.1", 1),
            "headers": [
                (b"host", b"bus.example"),
                (b"x-forwarded-for", b"10.0.0.9"),
                (b"x-forwarded-host", b"evil.example"),
                (b"x-forwarded-proto", b"https"),
            ],
        }
    )
    proxies = parse_networks("P", "10.1.2.3")

    assert address_of(request, proxies) == "192.168.0.1"
    assert host_of(request, proxies) == "bus.example"
    assert not is_secure(request, proxies)


def test_a_console_without_a_login_answers_to_this_machine_only(seed: Seed) -> None:
    """Also where another app mounts it, on whatever address."""
    outside = Client(create_app(seed.bus), address="10.0.0.7")

    assert outside.get("/").status_code == 403
    assert outside.get("/live").status_code == 403


@pytest.mark.parametrize("network", ["10.0.0.0/8", "::ffff:10.0.0.0/104", "::ffff:10.1.2.3"])
def test_a_socket_for_both_versions_of_ip_tells_who_is_near(seed: Seed, network: str) -> None:
    """It says an address of IPv4 as one of IPv6: this machine is still this machine, and a proxy the proxy."""
    proxies = parse_networks("P", network)
    access = Proxied("Remote-User", proxies=proxies, operators=[])
    local, proxied = (
        create_app(seed.bus, settings=ConsoleSettings(access=each, proxies=proxies)) for each in (LocalOnly(), access)
    )
    asked = ((local, "127.0.0.1"), (local, "10.1.2.3"), (proxied, "10.1.2.3"), (proxied, "192.168.0.1"))

    statuses = [
        Client(app, address=f"::ffff:{address}").get("/audit", headers={"remote-user": "bob"}).status_code
        for app, address in asked
    ]

    assert statuses == [200, 403, 200, 403]


def test_only_a_trusted_proxy_names_users(seed: Seed) -> None:
    """From elsewhere the header is worth nothing; from the proxy there is one of it, or nobody is let in."""
    proxies = parse_networks("P", "10.0.0.0/8")
    access = Proxied("X-Forwarded-User", proxies=proxies, operators=["alice"])
    app = create_app(seed.bus, settings=ConsoleSettings(access=access, proxies=proxies))
    inside, outside = Client(app, address="10.1.2.3"), Client(app, address="192.168.0.1")
    named = {"x-forwarded-user": "alice"}

    assert "alice <small>(operator)" in inside.get("/audit", headers=named).text
    assert "bob <small>(viewer)" in inside.get("/audit", headers={"x-forwarded-user": "bob"}).text
    assert outside.get("/audit", headers=named).status_code == 403
    for names in ([], [""], ["  "], ["bob", "alice"], ["alice\x01"], ["alice\u200b"], ["alice\xa0"], ["x" * 201]):
        headers = [(b"x-forwarded-user", name.encode()) for name in names]
        assert inside.get("/audit", headers=headers).status_code == 403, names


def test_a_name_from_a_proxy_is_a_text_of_any_language(seed: Seed) -> None:
    """In UTF-8, or Latin-1 where a proxy still speaks that."""
    proxies = parse_networks("P", "10.0.0.0/8")
    access = Proxied("X-Forwarded-User", proxies=proxies, operators=["Łàszló"])
    client = Client(create_app(seed.bus, settings=ConsoleSettings(access=access)), address="10.1.2.3")

    for name, shown in (
        ("Łàszló".encode(), "Łàszló <small>(operator)"),
        ("José".encode("latin-1"), "José <small>(viewer)"),
    ):
        assert shown in client.get("/audit", headers=[(b"x-forwarded-user", name)]).text


def test_a_form_passes_a_proxy_that_calls_us_by_another_name(seed: Seed) -> None:
    """The browser's host is what the trusted proxy says; whoever is not trusted may say what they like."""
    proxies = parse_networks("P", "10.0.0.0/8")
    access = Proxied("X-Forwarded-User", proxies=proxies, operators=["alice"])
    app = create_app(seed.bus, settings=ConsoleSettings(access=access, proxies=proxies))
    client = Client(app, address="10.1.2.3", base_url="http://upstream:8321")
    client.headers["x-forwarded-user"] = "alice"
    form = {"token": client.token("/groups/inventory")}
    origin = {"origin": "http://bus.example"}

    answers = [
        client.post("/groups/inventory/pause", data=form, headers={**origin, "x-forwarded-host": host})
        for host in ("bus.example", "evil.example")
    ]

    assert [answer.status_code for answer in answers] == [200, 403]
    local = Client(create_app(seed.bus))
    sent = {"token": local.token("/groups/inventory")}
    assert (
        local.post(
            "/groups/inventory/pause", data=sent, headers={**origin, "x-forwarded-host": "bus.example"}
        ).status_code
        == 403
    )


def test_a_token_is_for_one_user(seed: Seed) -> None:
    """Behind a proxy two people may share a browser: the form of one is not the other's."""
    proxies = parse_networks("P", "10.0.0.0/8")
    access = Proxied("X-Forwarded-User", proxies=proxies, operators=["alice", "bob"])
    client = Client(create_app(seed.bus, settings=ConsoleSettings(access=access, proxies=proxies)), address="10.1.2.3")
    client.headers["x-forwarded-user"] = "alice"
    token = client.token("/groups/inventory")

    client.headers["x-forwarded-user"] = "bob"

    assert client.post("/groups/inventory/pause", data={"token": token}).status_code == 403


def test_the_host_app_decides_where_it_says_so(seed: Seed) -> None:
    """Its check is asked for every path, and its users have the roles that it gives; plain or async."""

    async def check(request: Request) -> User | None:
        name = request.headers.get("x-user")
        return User(name=name, role=Role.OPERATOR if name == "alice" else Role.VIEWER) if name else None

    app = Starlette(routes=[Mount("/bus", create_app(seed.bus, check=check))])
    client = Client(app, address="203.0.113.9", base_url="https://shop.example")

    assert client.get("/bus/").status_code == 403
    assert client.get("/bus/live").status_code == 403
    assert "Pause" not in client.get("/bus/groups/inventory", headers={"x-user": "bob"}).text
    text = client.get("/bus/groups/inventory", headers={"x-user": "alice"}).text
    assert 'action="/bus/groups/inventory/pause"' in text
    assert set(re.findall(r"(?:href|src|action)=\"(/[^\"]*)\"", text)) == {
        found for found in re.findall(r"(?:href|src|action)=\"(/[^\"]*)\"", text) if found.startswith("/bus/")
    }


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/....//app.py",
        "/static/%00",
        "/static/vendor",
        "/static/",
        "/groups/..%2f..%2faudit",
        "/groups/%00",
        "/groups/" + "x" * 5000,
        "/groups/INVENTORY",
        "/groups/inventory/pause/../resume",
    ],
)
def test_a_path_leads_to_pages_and_files_only(client: Client, path: str) -> None:
    """Nothing outside the folder of files; no error that unexpected error."""
    answer = client.get(path, follow_redirects=False)

    assert answer.status_code in (400, 404, 405)
    assert "import " not in answer.text
    assert "root:" not in answer.text


# --- huge and malformed -----------------------------------------------------------------------------------------------


NONSENSE = (
    *("cursor=-1", "cursor=99999999999999999999999", "cursor=%00", "cursor=%ff%fe", "cursor=x&cursor=1"),
    *("id=%00", "id=" + "9" * 400, "group=" + "g" * 60_000, "pattern=" + "a." * 200),
    *("since=yesterday", "since=99999999999999w", "state=unheard-of", "limit=1000000", "&&&===%%%"),
    *("%F0%9F%92%A9=%F0%9F%92%A9", "&".join(f"a{number}=1" for number in range(3000))),
)


@pytest.mark.parametrize("route", READING, ids=lambda route: route.path)
def test_what_cannot_be_asked_is_one_sentence(seed: Seed, client: Client, route: Shown) -> None:
    """Numbers, times, ids and texts that are none: a page that says so, or that does not care; never an error of ours."""
    for query in NONSENSE:
        answer = client.get(f"{path_of(route.path, seed)}?{query}", follow_redirects=False)
        assert answer.status_code in (200, 303, 400, 404), (query[:40], answer.text)
        # A dead letter has one to show.
        assert "Traceback" not in answer.text or "{letter_id" in route.path


@pytest.mark.parametrize("route", STREAMING, ids=lambda route: route.path)
def test_a_stream_hears_no_nonsense(seed: Seed, served: str, route: Live | Tailing) -> None:
    """The same of what tells the page what is new: refused, or a trouble in one sentence, or of no interest."""
    for query in NONSENSE:
        address = urlsplit(f"{served}{path_of(route.path, seed)}?{query}")
        with closing(http.client.HTTPConnection(address.netloc, timeout=20)) as connection:
            connection.request("GET", f"{address.path}?{address.query}")
            answer = connection.getresponse()
            said = answer.read1()
        assert answer.status in (200, 303, 400, 404), (query[:40], said)
        assert b"unexpected error" not in said, query[:40]


def test_a_huge_form_is_refused_before_it_is_read(client: Client) -> None:
    """By its bytes and by its fields."""
    token = client.token("/groups/inventory")

    large = client.post("/groups/inventory/pause", data={"token": token, "x": "y" * 1_100_000})
    many = client.post("/groups/inventory/pause", data={"token": [token, *["x"] * 3000]})

    assert (large.status_code, many.status_code) == (400, 400)


def test_a_confirmation_keeps_fields_as_text(client: Client) -> None:
    """What a form brings to the question comes back escaped in its hidden fields."""
    answer = client.press("/groups/inventory", "/groups/inventory/pause", **{"reason": EVIL, '"><script>': "x"})

    assert answer.status_code == 200
    assert "<script>window" not in answer.text
    assert '"><script>' not in answer.text


# --- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/groups/nope", "/nope", "/static/console.js", "/static/nope", "/find?id=1"])
def test_every_answer_forbids_what_pages_need_not(client: Client, path: str) -> None:
    """Scripts and styles are files of ours; nobody frames us, guesses types, keeps a page, or hears what was looked for."""
    answer = client.get(path, follow_redirects=False)
    policy = answer.headers["content-security-policy"]
    others = ("referrer-policy", "cross-origin-opener-policy", "cross-origin-resource-policy")

    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert {"base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"} <= set(policy.split("; "))
    assert {answer.headers[name] for name in others} == {"same-origin"}
    assert (answer.headers["x-frame-options"], answer.headers["x-content-type-options"]) == ("DENY", "nosniff")
    assert answer.headers["cache-control"] == ("no-cache" if path == "/static/console.js" else "no-store")


@pytest.mark.parametrize("path", ["/dead/{}", "/dead/{}/note", "/schemas/order.created/{}/retire"])
def test_a_number_of_thousands_of_digits_is_none(client: Client, path: str) -> None:
    """Whatever is asked of it."""
    for method in ("GET", "POST"):
        assert client.request(method, path.format("9" * 5000)).status_code == 404
    sent = {"token": client.token("/groups/inventory"), "confirmed": "yes", "note": "x"}
    assert client.post(path.format("9" * 18), data=sent).status_code in (404, 405)


def test_a_failure_before_the_gate_is_protected_too(seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """And has no word of what failed."""
    monkeypatch.setattr(Number, "convert", lambda self, value: 1 / 0)

    answer = Client(create_app(seed.bus), raise_server_exceptions=False).get("/dead/1")

    assert (answer.status_code, "unexpected error" in answer.text, "Zero" in answer.text) == (500, True, False)
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert answer.headers["cache-control"] == "no-store"


class Elements(HTMLParser):
    """Notes what a page has that it must not have."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Scripts and styles in the page itself, and addresses of others."""
        given = {name: value or "" for name, value in attrs}
        leads = [given.get(name, "") for name in ("src", "href", "action", "formaction")]
        is_inline = tag == "style" or (tag == "script" and "src" not in given) or "style" in given
        has_handler = any(name.startswith("on") for name in given)
        if (
            is_inline
            or has_handler
            or any(re.match(r"(?:[a-z]+:|//|\\\\)", lead.strip(), re.IGNORECASE) for lead in leads)
        ):
            self.found.append(self.get_starttag_text() or tag)


def test_no_page_has_a_script_or_a_style_of_its_own(seed: Seed, client: Client) -> None:
    """Nothing inline: the policy would forbid it, and the page would be broken; nothing of anybody else's."""
    for route in READING:
        elements = Elements()
        elements.feed(client.get(path_of(route.path, seed)).text)
        assert elements.found == [], route.path


def test_a_failure_that_nobody_foresaw_says_nothing(
    seed: Seed, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The page has no word of it; the log has all."""
    monkeypatch.setattr(type(seed.bus), "audit", lambda *_, **__: 1 / 0)

    answer = client.get("/audit")

    assert answer.status_code == 500
    assert "ZeroDivisionError" not in answer.text
    assert "ZeroDivisionError" in caplog.text
