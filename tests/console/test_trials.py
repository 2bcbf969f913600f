"""Trials that a console carries out: each by one thread, and for a day at most; and what their addresses hold."""

import threading
import time
from dataclasses import asdict
from typing import Any

import pytest
from itsdangerous import URLSafeTimedSerializer

from eventbus.console import create_app, trials
from eventbus.console.access import LocalOnly
from eventbus.console.settings import ConsoleSettings
from eventbus.console.trial_plan import TrialPlan
from eventbus.console.trials import LONGEST_SECONDS, Course, Stage, Trials
from eventbus.lifecycle.dead_lettering import Sought
from eventbus.lifecycle.resolving import Frozen, Progress, Resolving
from eventbus.lifecycle.trying import Trial
from tests.console.client import Client
from tests.console.seed import Seed

SECRET = "one secret of this console, and long enough"


@pytest.fixture
def others(seed: Seed) -> Frozen:
    """What is to follow."""
    return seed.bus.resolving.freeze(Sought(group="notification"))


def test_a_trial_is_carried_out_by_one(seed: Seed, others: Frozen) -> None:
    """However often its button is pressed; again only when whoever was at it has ended without knowing."""
    known, stop = Trials(), threading.Event()
    stop.set()
    work = known.work("w", seed.bus, [1], others)
    assert work is not None

    assert known.work("w", seed.bus, [1], others) is None
    assert known.course("w") == Course(stage=Stage.WAITING)
    work(stop)

    assert known.course("w") is None
    assert known.work("w", seed.bus, [1], others) is not None


def test_trials_do_not_fill_the_memory(seed: Seed, others: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten."""
    monkeypatch.setattr(trials, "_MOST_REMEMBERED", 2)
    known = Trials()

    for word in "abc":
        known.work(word, seed.bus, [1], others)

    assert [known.course(word) is not None for word in "abc"] == [False, True, True]


def test_nobody_waits_for_longer_than_a_day(seed: Seed, others: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decided later is decided anew."""
    monkeypatch.setattr(trials, "LONGEST_SECONDS", 0)
    looked: list[object] = []
    monkeypatch.setattr(type(seed.bus), "trial", lambda bus, ids: looked.append(ids))
    known, stop = Trials(), threading.Event()
    work = known.work("w", seed.bus, [1], others)
    assert work is not None

    thread = threading.Thread(target=work, args=(stop,))
    thread.start()
    thread.join(10)
    has_ended = not thread.is_alive()
    stop.set()
    thread.join()

    assert (has_ended, looked, known.course("w")) == (True, [], None)


def test_a_console_that_ends_stops_the_others_where_they_are(own_seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two batches; until then its page says that they are being retried, and afterwards that nobody is at it."""
    bus, known, stop = own_seed.bus, Trials(), threading.Event()
    others = bus.resolving.freeze(Sought(group="notification"))
    passed = Trial(succeeded=(1,), waiting=(), failed=())
    monkeypatch.setattr(type(bus), "trial", lambda bus, ids: passed)
    meanwhile: list[Course | None] = []
    retry = Resolving.retry

    def end_meanwhile(resolving: Resolving, frozen: Frozen, **options: Any) -> Progress:
        meanwhile.append(known.course("w"))
        stop.set()
        return retry(resolving, frozen, **options)

    monkeypatch.setattr(Resolving, "retry", end_meanwhile)
    work = known.work("w", bus, [1], others)
    assert work is not None
    work(stop)

    assert meanwhile == [Course(stage=Stage.GOING_ON)]
    assert known.course("w") is None
    assert bus.resolving.freeze(Sought(group="notification")).ids == others.ids != ()


def test_a_plan_is_what_this_console_signed_today(seed: Seed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else makes one: not with another secret, not of another signed text of ours, and not of an old address."""
    client = Client(create_app(seed.bus, settings=ConsoleSettings(access=LocalOnly(), secret=SECRET)))
    plan = asdict(TrialPlan(tried=[1], others=0, fields=None, who="ann"))

    def status(secret: str = SECRET, salt: str = "trial") -> int:
        word = URLSafeTimedSerializer(secret, salt=f"eventbus.console.{salt}").dumps(plan)
        monkeypatch.undo()
        return client.get("/dead/trial", params={"plan": word}).status_code

    made_here = status()
    yesterday = time.time() - LONGEST_SECONDS - 2
    monkeypatch.setattr(time, "time", lambda: yesterday)

    assert (made_here, status()) == (200, 400)
    assert [status(secret=SECRET[::-1]), status(salt="notice")] == [400, 400]
