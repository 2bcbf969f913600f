"""Patience: what waits for a PostgreSQL that does not answer ends with a sentence, and leaves the rest of the console alone."""

import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from eventbus.console import answering, create_app
from eventbus.storage import deadlines
from tests.console.client import Client
from tests.console.seed import Seed, make_bus
from tests.console.serving import serving
from tests.support import wait_until
from tests.support.silent_proxy import SilentProxy


def test_a_page_does_not_wait_for_ever(seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PostgreSQL that is frozen ends it with a sentence."""
    monkeypatch.setattr(deadlines, "_PERIOD_SECONDS", 0.05)
    settings = seed.bus.settings
    with SilentProxy(settings.database_url) as proxy:
        bus = make_bus(database_url=proxy.url, broker_url=settings.broker_url, prefix="patience")
        client = Client(create_app(bus))
        client.text("/audit")
        monkeypatch.setattr(answering, "PATIENCE", timedelta(seconds=0.1))

        with proxy.silence():
            text = client.text("/audit", status=503)
        bus.database.dispose()
        bus.app.close()

    assert "PostgreSQL cannot be reached" in text


def test_a_change_does_not_wait_for_ever(own_seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever presses a button is answered, too."""
    monkeypatch.setattr(deadlines, "_PERIOD_SECONDS", 0.05)
    settings = own_seed.bus.settings
    with SilentProxy(settings.database_url) as proxy:
        bus = make_bus(database_url=proxy.url, broker_url=settings.broker_url, prefix="patience")
        client = Client(create_app(bus))
        page = client.text("/groups/analytics")
        monkeypatch.setattr(answering, "PATIENCE", timedelta(seconds=0.1))

        with proxy.silence():
            answer = client.submit(page, "/groups/analytics/resume")
        bus.database.dispose()
        bus.app.close()

    assert (answer.status_code, "PostgreSQL cannot be reached" in answer.text) == (503, True)


def test_pages_that_wait_leave_files_alone(seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are."""
    may_go_on = threading.Event()
    begun: list[None] = []

    def audit(*_: object, **__: object) -> list[None]:
        begun.append(None)
        may_go_on.wait(20)
        return []

    monkeypatch.setattr(type(seed.bus), "audit", audit)
    with serving(create_app(seed.bus)) as url, ThreadPoolExecutor(45) as threads:

        def fetch(path: str, *, timeout: float = 5.0) -> int:
            with urllib.request.urlopen(url + path, timeout=timeout) as answer:
                return int(answer.status)

        pages = [threads.submit(fetch, "/audit", timeout=30) for _ in range(44)]
        try:
            wait_until(lambda: len(begun) >= 20)
            assert [fetch("/static/console.js") for _ in range(20)] == [200] * 20
        finally:
            may_go_on.set()
        assert [page.result() for page in pages] == [200] * 44
