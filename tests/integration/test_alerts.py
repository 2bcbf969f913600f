"""Alerts: a real HTTP server is told of each cause that is new or has returned; once, signed, repeated, and not too often."""

import base64
import contextlib
import hashlib
import hmac
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from eventbus import EventBus, webhook
from eventbus.embedded.server import free_port
from eventbus.errors import InvalidSetting
from eventbus.lifecycle import alerting, housekeeping, settlement
from eventbus.lifecycle.alerting import Alerting, compose_slack
from eventbus.retry import RetryPolicy
from eventbus.settings import load_settings
from eventbus.storage import alerts
from eventbus.storage.alerts import Alert
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.receiver import Received, Receiver
from tests.support.rows import Rows
from tests.support.tls_proxy import TlsProxy

ONCE = RetryPolicy(max_retries=0)
#: Nothing is being sent, and nothing was sent lately.
LATER = """
UPDATE eventbus.alert SET due_at = due_at - interval '1 h', ended_at = ended_at - interval '1 h'
"""
Die = Callable[..., str]
MakeAlerting = Callable[..., Alerting]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook."""
    with Receiver() as started:
        yield started


@pytest.fixture
def make_alerting(make_bus: MakeBus, receiver: Receiver) -> MakeAlerting:
    """A function that makes a worker's part in alerting; settings by name."""

    def make(**settings: Any) -> Alerting:
        bus = make_bus(**{"alert_url": receiver.url, **settings})
        return Alerting(database=bus.database, settings=bus.settings)

    return make


@pytest.fixture
def die(bus: EventBus, worker: MakeWorker) -> Die:
    """A function that lets an event end as a dead letter for *text*; its fingerprint."""
    bus.subscribe("#", group="a", handler=lambda event: None)
    here = worker()

    def make(text: str, data: Any = None) -> str:
        event = bus.publish("order.created", {} if data is None else data, source="orders")
        claimed = here.take("a", event.id, task_id=None)
        assert claimed is not None
        outcome = settlement.settle_failed(bus.database, claimed, ValueError(text), policy=ONCE, worker="w")
        assert isinstance(outcome, settlement.Dead)
        assert outcome.letter_id is not None
        return bus.dead_letter(outcome.letter_id).letter.fingerprint

    return make


def told(received: Sequence[Received]) -> list[tuple[str, str]]:
    """What each alert of each POST says."""
    return [(alert["kind"], alert["fingerprint"]) for item in received for alert in json.loads(item.body)["alerts"]]


def test_a_new_cause_is_told_once_and_told_again_when_it_returns(
    bus: EventBus, die: Die, make_alerting: MakeAlerting, receiver: Receiver, rows: Rows
) -> None:
    """A repetition is no news; resolved and back is."""
    sender = make_alerting()
    known = die("order 1 is gone")
    sender.send()
    rows.all(LATER)
    die("order 2 is gone")
    sender.send()
    first = told(receiver.received)
    bus.discard_dead_letters(group="a", reason="no")
    die("order 3 is gone")
    die("order 4 is gone")
    sender.send()
    rows.all(LATER)
    sender.send()

    assert first == [("new", known)]
    assert told(receiver.received) == [("new", known), ("returned", known)]
    assert rows.all("SELECT result, attempts FROM eventbus.alert ORDER BY id") == [("sent", 1), ("sent", 1)]


def test_an_alert_says_what_it_is_about(
    bus: EventBus, die: Die, make_alerting: MakeAlerting, receiver: Receiver, rows: Rows
) -> None:
    """Enough to find the letter; no data of the event, and no particulars of the message."""
    known = die("order 'o-1' of ann@example.com is gone", {"total": 4711})
    die("order 'o-2' of ann@example.com is gone")
    make_alerting().send()

    [sent] = receiver.received
    body = json.loads(sent.body)
    [alert] = body["alerts"]
    letter = bus.dead_letters(status=None).items[-1]
    assert (sent.path, sent.headers["content-type"]) == ("/hooks/secret-path", "application/json")
    assert (body["type"], body["bus"]) == ("eventbus.alert", bus.settings.prefix)
    assert {key: alert[key] for key in ("kind", "fingerprint", "error_type", "message", "place", "groups")} == {
        "kind": "new",
        "fingerprint": known,
        "error_type": "ValueError",
        "message": "order ? of ann@example.com is gone",
        "place": "a",
        "groups": ["a"],
    }
    assert (alert["state"], alert["occurrences"]) == ("new", 2)
    assert [(alert["first_seen_at"], alert["last_seen_at"])] == [
        (first.isoformat(), last.isoformat())
        for first, last in rows.all("SELECT first_seen_at, last_seen_at FROM eventbus.fingerprint")
    ]
    assert alert["first_seen_at"] < alert["last_seen_at"]
    assert alert["dead_letter"] == {
        "id": letter.id,
        "event_id": str(letter.event_id),
        "event_type": "order.created",
        "group": "a",
        "failed_at": letter.failed_at.isoformat(),
    }
    assert b"4711" not in sent.body


def test_what_is_redacted_is_not_told(die: Die, make_alerting: MakeAlerting, receiver: Receiver) -> None:
    """A value that no view shows is taken out of the message too, wherever the event has it."""
    data = {
        "customer": {"email": "ann@example.com", "name": "a"},
        "lines": [{"note": "fragile goods"}, {"note": None}, 7, [True]],
    }
    die("no mail to ann@example.com for fragile goods of a", data)
    paths = "data.customer,data.lines.*.note,data.lines.9,data.lines.x,data.none.at.all"

    make_alerting(redact=paths).send()

    [sent] = receiver.received
    assert json.loads(sent.body)["alerts"][0]["message"] == "no mail to [redacted] for [redacted] of [redacted]"


def test_of_an_event_that_somebody_deleted_nothing_is_told(
    die: Die, make_alerting: MakeAlerting, receiver: Receiver, rows: Rows
) -> None:
    """What was hidden in it is known by nobody any more; the alert goes out all the same, and holds up no other."""
    die("no mail to ann@example.com", {"email": "ann@example.com"})
    rows.all("DELETE FROM eventbus.event_log")

    make_alerting(redact="data.email").send()

    [sent] = receiver.received
    assert json.loads(sent.body)["alerts"][0]["message"] == "[redacted]"


@pytest.mark.parametrize("table", ["dead_letter", "fingerprint"])
def test_a_dead_letter_that_somebody_deleted_holds_up_no_other(
    table: str, die: Die, make_alerting: MakeAlerting, receiver: Receiver, rows: Rows
) -> None:
    """There is nothing to be told of it any more."""
    die("no paper")
    rows.all(f"DELETE FROM eventbus.{table}")
    die("no ink")

    make_alerting().send()

    [sent] = receiver.received
    assert [alert["message"] for alert in json.loads(sent.body)["alerts"]] == ["no ink"]
    assert rows.all("SELECT result FROM eventbus.alert ORDER BY id") == [("expired",), ("sent",)]


def test_a_message_for_slack_is_text(die: Die, make_alerting: MakeAlerting, receiver: Receiver) -> None:
    """With what to type; what means something to Slack is escaped."""
    known = die("<b> & co")
    die("")

    make_alerting(alert_format="slack").send()

    [sent] = receiver.received
    body = json.loads(sent.body)
    texts = [block["text"]["text"] for block in body["blocks"]]
    assert set(body) == {"text", "blocks"}
    assert body["text"].endswith(": 2 causes of dead letters")
    assert all((block["type"], block["text"]["type"]) == ("section", "mrkdwn") for block in body["blocks"])
    assert texts[1].startswith("*New in a*\nValueError: &lt;b&gt; &amp; co at a\n`eventbus dead show ")
    assert f"eventbus dead acknowledge {known}" in texts[1]
    assert "\nValueError at a\n" in texts[2]


def test_slack_is_told_that_a_cause_has_returned(
    bus: EventBus, die: Die, make_alerting: MakeAlerting, receiver: Receiver, rows: Rows
) -> None:
    """Somebody held it for resolved: it does not look like a new one."""
    sender = make_alerting(alert_format="slack")
    die("order 1 is gone")
    sender.send()
    rows.all(LATER)
    bus.discard_dead_letters(group="a", reason="no")
    die("order 2 is gone")
    sender.send()

    [_, sent] = receiver.received
    body = json.loads(sent.body)
    assert body["text"] == f"{bus.settings.prefix}: 1 cause of dead letters"
    assert body["blocks"][1]["text"]["text"].startswith("*Returned in a*\n")


def test_slack_takes_whatever_an_error_says() -> None:
    """A text of more than 3,000 characters would be refused, and with it the message, and all alerts behind it."""
    moment = datetime.now(UTC)
    alert = Alert(
        id=1,
        kind="new",
        attempts=1,
        created_at=moment,
        fingerprint="f" * 16,
        error_type="E" * 500,
        gist="&" * 500,
        place="<" * 500,
        groups=tuple(f"group-{number}" for number in range(100)),
        state="new",
        occurrences=1,
        first_seen_at=moment,
        last_seen_at=moment,
        letter_id=2**63 - 1,
        event_id=uuid4(),
        event_type="order.created",
        group="group-0",
        failed_at=moment,
    )

    _, block = compose_slack([alert], "bus")["blocks"]

    assert len(block["text"]["text"]) <= 3000
    assert block["text"]["text"].endswith(f"eventbus dead acknowledge {alert.fingerprint}`")


@pytest.mark.parametrize("secret", ["a plain one", "whsec_" + base64.b64encode(b"32 bytes of it").decode()])
def test_messages_are_signed(secret: str, die: Die, make_alerting: MakeAlerting, receiver: Receiver) -> None:
    """Over id, time and body, so that nobody can forge one, or play an old one again."""
    die("no")
    make_alerting(alert_secret=secret).send()

    [sent] = receiver.received
    id, timestamp = sent.headers["webhook-id"], sent.headers["webhook-timestamp"]
    key = b"32 bytes of it" if secret.endswith("=") else secret.encode()
    digest = hmac.new(key, f"{id}.{timestamp}.".encode() + sent.body, hashlib.sha256).digest()
    assert sent.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert len(id) > 20
    assert int(timestamp) > 1_700_000_000


def test_without_a_secret_nothing_is_signed(die: Die, make_alerting: MakeAlerting, receiver: Receiver) -> None:
    """Slack takes its URL for the secret."""
    die("no")
    make_alerting().send()

    assert "webhook-signature" not in receiver.received[0].headers


@pytest.mark.parametrize("status", [500, 302, 429])
def test_a_receiver_that_fails_is_tried_again_later_and_later(
    status: int,
    die: Die,
    make_alerting: MakeAlerting,
    receiver: Receiver,
    rows: Rows,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the same id; no redirection is followed; what it asks for is kept to. In the log there is no secret."""
    receiver.status, receiver.headers = (
        status,
        {"Location": "http://127.0.0.1/", "Retry-After": {500: "9" * 30}.get(status, "x")},
    )
    sender = make_alerting()
    die("no")
    waits = []
    for _ in range(3):
        sender.send()
        sender.send()  # not before its time
        waits.append(rows.value("SELECT due_at - clock_timestamp() FROM eventbus.alert"))
        rows.all(LATER)
    receiver.headers = {"Retry-After": "600"}
    sender.send()
    asked = rows.value("SELECT due_at - clock_timestamp() FROM eventbus.alert")
    rows.all(LATER)
    receiver.status = 200
    sender.send()

    assert [round(wait.total_seconds(), -1) for wait in waits] == [10, 20, 40]
    assert timedelta(seconds=590) < asked <= timedelta(seconds=600)
    assert len(receiver.received) == 5
    assert len({item.headers["webhook-id"] for item in receiver.received}) == 1
    assert rows.all("SELECT result, attempts FROM eventbus.alert") == [("sent", 5)]
    assert rows.value("SELECT last_error FROM eventbus.alert") is None
    assert f"it answered {status}" in [getattr(item, "reason", "") for item in caplog.records]
    assert all("secret-path" not in str(vars(item)) for item in caplog.records)


def test_a_receiver_that_never_takes_it_is_given_up(
    die: Die,
    make_alerting: MakeAlerting,
    rows: Rows,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After many tries, and as an error; an alert that came later has its own tries."""
    monkeypatch.setattr(alerting, "_MOST_ATTEMPTS", 2)
    sender = make_alerting(alert_url=f"http://127.0.0.1:{free_port()}/hooks/secret-path")
    die("no one")
    for text in ("no two", "no six"):
        sender.send()
        rows.all(LATER)
        die(text)

    found = rows.all("SELECT result, attempts, last_error FROM eventbus.alert ORDER BY id")
    assert [(result, attempts) for result, attempts, _ in found] == [("given up", 2), (None, 1), (None, 0)]
    assert "ConnectionRefusedError" in found[0][2]
    assert [item.levelno for item in caplog.records if item.message == "alerts_not_sent"] == [
        logging.WARNING,
        logging.ERROR,
    ]
    assert all("secret-path" not in str(vars(item)) for item in caplog.records)


@pytest.mark.parametrize("asked", [None, "3", "86400"])
def test_a_message_is_tried_twelve_times_at_most_15_minutes_apart(
    asked: str | None,
    die: Die,
    make_alerting: MakeAlerting,
    receiver: Receiver,
    rows: Rows,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever the receiver asks for; who reads the log knows who did not take how many."""
    receiver.status, receiver.headers = 503, {"Retry-After": asked} if asked else {}
    sender = make_alerting()
    die("no")
    waits = []
    for _ in range(12):
        sender.send()
        waits.append(rows.value("SELECT due_at - clock_timestamp() FROM eventbus.alert"))
        rows.all(LATER)

    longest = 900
    doubled = [10, 20, 40, 80, 160, 320, 640, *[longest] * 4]
    facts = [vars(item) for item in caplog.records if item.message == "alerts_not_sent"]
    assert [round(wait.total_seconds(), -1) for wait in waits[:-1]] == ([longest] * 11 if asked == "86400" else doubled)
    assert len(receiver.received) == 12
    assert rows.all("SELECT result, last_error FROM eventbus.alert") == [("given up", "it answered 503")]
    assert [(item["alerts"], item["given_up"]) for item in facts] == [(1, 0)] * 11 + [(1, 1)]
    assert {item["receiver"] for item in facts} == {"127.0.0.1"}


def test_senders_that_die_for_a_day_hold_up_nothing(die: Die, make_alerting: MakeAlerting, rows: Rows) -> None:
    """However often it was taken, it is given up at the next refusal."""
    sender = make_alerting(alert_url=f"http://127.0.0.1:{free_port()}/")
    die("no")
    rows.all("UPDATE eventbus.alert SET attempts = 1440")

    sender.send()

    assert rows.all("SELECT result FROM eventbus.alert") == [("given up",)]


def test_what_answers_no_http_is_a_receiver_that_fails() -> None:
    """Whatever listens there, and whatever the URL is."""

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"this is no HTTP\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/secret-path"
        odd = webhook.post(url, b"{}", id="a", secret=None, timeout_seconds=5)
        thread.join()
    malformed = webhook.post("http://[::1", b"{}", id="a", secret=None, timeout_seconds=1)

    assert odd is not None
    assert odd.reason == "it answered no HTTP, or its URL is none (BadStatusLine)"
    assert malformed is not None
    assert malformed.reason == "it answered no HTTP, or its URL is none (ValueError)"


def test_a_receiver_that_drips_its_answer_holds_nobody() -> None:
    """However soon each byte comes, the whole answer has to come in time."""
    gone, answers = threading.Event(), list[webhook.Refused | None]()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nDate: ")
            while not gone.wait(0.05):
                connection.sendall(b"x")

    def ask(url: str) -> None:
        answers.append(webhook.post(url, b"{}", id="a", secret=None, timeout_seconds=1))

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        asking = threading.Thread(target=ask, args=(f"http://127.0.0.1:{server.getsockname()[1]}/",))
        asking.start()
        asking.join(15)
        in_time = list(answers)
        gone.set()
        asking.join()

    assert in_time == [webhook.Refused(reason="it could not be asked (TimeoutError: timed out)")]


def test_an_encrypted_receiver_has_to_prove_who_it_is(receiver: Receiver) -> None:
    """One without a certificate is told nothing."""
    with TlsProxy(receiver.url) as proxy:
        url = f"https://127.0.0.1:{urlsplit(proxy.url).port}/"
        refused = webhook.post(url, b"{}", id="a", secret=None, timeout_seconds=5)

    assert refused is not None
    assert refused.reason.startswith("it could not be asked (SSLError: ")
    assert receiver.received == []


def test_a_proxy_that_the_environment_names_is_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers may have no other way out."""
    monkeypatch.setenv("http_proxy", receiver.url)
    webhook._opener.cache_clear()

    refused = webhook.post("http://alerts.invalid/hook", b"{}", id="a", secret=None, timeout_seconds=5)

    webhook._opener.cache_clear()
    assert refused is None
    assert [item.path for item in receiver.received] == ["http://alerts.invalid/hook"]


@pytest.mark.parametrize(("status", "is_taken"), [(200, True), (299, True), (300, False)])
def test_whatever_2xx_a_receiver_answers_it_has_taken_it(status: int, is_taken: bool, receiver: Receiver) -> None:
    """And nothing else."""
    receiver.status = status

    refused = webhook.post(receiver.url, b"{}", id="a", secret=None, timeout_seconds=5)

    assert (refused is None) == is_taken


def test_a_burst_is_few_messages(die: Die, make_alerting: MakeAlerting, receiver: Receiver, rows: Rows) -> None:
    """Some time lies between two of them, each tells of many, and no alert is left out."""
    sender = make_alerting(alert_seconds=3600)
    known = [die(f"no {chr(97 + number // 20)}{chr(97 + number % 20)}") for number in range(25)]
    for _ in range(3):
        sender.send()
    early = len(receiver.received)
    rows.all(LATER)
    for _ in range(3):
        sender.send()

    assert early == 1
    assert [len(json.loads(item.body)["alerts"]) for item in receiver.received] == [20, 5]
    assert told(receiver.received) == [("new", fingerprint) for fingerprint in known]


def test_of_several_workers_one_sends(die: Die, make_alerting: MakeAlerting, receiver: Receiver, rows: Rows) -> None:
    """Also while the receiver takes its time: then the others do not even wait."""
    receiver.answers.clear()
    senders = [make_alerting(alert_seconds=1) for _ in range(4)]
    die("no")
    threads = [threading.Thread(target=sender.send) for sender in senders]
    for thread in threads:
        thread.start()
    while sum(thread.is_alive() for thread in threads) > 1:
        pass
    die("no other")
    senders[0].send()
    receiver.answers.set()
    for thread in threads:
        thread.join()

    assert len(receiver.received) == 1
    assert rows.all("SELECT result FROM eventbus.alert ORDER BY id") == [("sent",), (None,)]


def test_what_one_worker_takes_at_this_moment_no_other_takes(bus: EventBus, die: Die) -> None:
    """Both saw that something is due; the second one does not wait for the first."""
    die("no")
    asked = {"pause": timedelta(seconds=1), "lease": timedelta(minutes=1), "kept": timedelta(days=1)}

    with bus.database.transaction() as first, bus.database.transaction() as second:
        second.change("SET LOCAL lock_timeout = '2s'")
        taken = [len(alerts.take(connection, limit=10, **asked)) for connection in (first, second)]

    assert taken == [1, 0]


def test_a_sender_that_dies_is_followed_by_another(
    die: Die, make_alerting: MakeAlerting, receiver: Receiver, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its lease has ended; a late answer of the first changes nothing of the second's."""
    sender = make_alerting()
    die("no")

    class Died(BaseException): ...

    def die_here(*_: Any, **__: Any) -> None:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(webhook, "post", die_here)
        with pytest.raises(Died):
            sender.send()
    lease = rows.value("SELECT due_at - clock_timestamp() FROM eventbus.alert")
    sender.send()
    before = len(receiver.received)
    rows.all(LATER)
    with monkeypatch.context() as patched:

        def overtaken(*_: Any, **__: Any) -> webhook.Refused:
            patched.undo()
            rows.all(LATER)
            sender.send()
            return webhook.Refused(reason="too late")

        patched.setattr(webhook, "post", overtaken)
        sender.send()

    assert timedelta(seconds=50) < lease <= timedelta(minutes=1)
    assert (before, len(receiver.received)) == (0, 1)
    assert rows.all("SELECT result, attempts, last_error FROM eventbus.alert") == [("sent", 3, None)]


def test_a_late_refusal_changes_nothing_of_the_next_senders_lease(
    die: Die, make_alerting: MakeAlerting, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While that one still waits for its answer, nobody sends it a third time."""
    sender = make_alerting()
    die("no")

    def overtaken(*_: Any, **__: Any) -> webhook.Refused:
        rows.all(LATER)
        with sender.database.transaction() as connection:
            assert alerts.take(
                connection, pause=timedelta(0), lease=timedelta(hours=1), kept=timedelta(days=1), limit=1
            )
        return webhook.Refused(reason="too late")

    monkeypatch.setattr(webhook, "post", overtaken)
    sender.send()

    assert rows.value("SELECT due_at - clock_timestamp() FROM eventbus.alert") > timedelta(minutes=50)


def test_old_news_is_none(die: Die, make_alerting: MakeAlerting, receiver: Receiver, rows: Rows) -> None:
    """What nobody could be told for a day, as where no webhook was named, floods nobody then; in the end it is deleted."""
    die("no")
    make_alerting(alert_url=None).send()
    rows.all("UPDATE eventbus.alert SET created_at = created_at - interval '25 h'")
    sender = make_alerting()
    sender.send()
    expired = rows.all("SELECT result FROM eventbus.alert")
    rows.all("UPDATE eventbus.alert SET created_at = created_at - interval '31 d'")
    housekeeping.forget_old(sender.database)

    assert receiver.received == []
    assert expired == [("expired",)]
    assert rows.count("alert") == 0


def test_what_happened_today_is_news(die: Die, make_alerting: MakeAlerting, receiver: Receiver, rows: Rows) -> None:
    """Whoever names a webhook in the evening is told of the morning."""
    known = die("no")
    rows.all("UPDATE eventbus.alert SET created_at = created_at - interval '23 h'")

    make_alerting().send()

    assert told(receiver.received) == [("new", known)]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("alert_url", "ftp://example.com/secret", "an http or https URL"),
        ("alert_url", "https://example.com:x/secret", "an http or https URL"),
        ("alert_url", "https://example.com/sec ret", "an http or https URL"),
        ("alert_url", "https://ann:pass@example.com/secret", "an http or https URL without a user"),
        ("alert_secret", "  ", "only you and the receiver know"),
        ("alert_format", "teams", "json or slack"),
        ("alert_seconds", "0", "a number of seconds"),
    ],
)
def test_settings_that_cannot_be_used_are_named_without_secrets(name: str, value: str, says: str) -> None:
    """One sentence."""
    given = {"database_url": "postgresql://h/d", "broker_url": "redis://h", name: value}

    with pytest.raises(InvalidSetting, match=says) as caught:
        load_settings(given, {})

    assert "/sec" not in str(caught.value)
    assert "pass" not in str(caught.value)


def test_settings_show_no_secret() -> None:
    """A webhook's URL is one."""
    given = {"database_url": "postgresql://h/d", "broker_url": "redis://h"}
    found = load_settings({**given, "alert_url": "https://h/secret-path", "alert_secret": "secret-key"}, {})

    assert "secret-" not in repr(found)
    assert replace(found, alert_url=None).alert_pause == timedelta(seconds=30)
