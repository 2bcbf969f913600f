"""Tolerance: what ends a worker of Celery's alone does not end ours."""

import multiprocessing
import os
from collections.abc import Callable, Iterator

import pytest
from celery import Celery
from celery.concurrency.asynpool import AsynPool
from kombu.asynchronous import Hub

from eventbus.worker.tolerance import drop_lost_messages, keep_connecting, tolerate_ended_children


@pytest.fixture
def tolerant() -> Iterator[None]:
    """With the tolerance, for one test."""
    before = AsynPool._track_child_process
    tolerate_ended_children()
    yield
    AsynPool._track_child_process = before


@pytest.fixture
def hub() -> Iterator[Hub]:
    """What a worker waits with."""
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> AsynPool:
    """A pool that has not started any process, and replaces none."""
    pool = AsynPool.__new__(AsynPool)
    monkeypatch.setattr(pool, "maintain_pool", lambda: None, raising=False)
    return pool


def test_a_child_that_has_ended_is_passed_over(tolerant: None, pool: AsynPool, hub: Hub) -> None:
    """Whoever connects anew before the pool has replaced it watches the others, and those that come, alone."""
    process = multiprocessing.get_context("fork").Process(target=os._exit, args=(0,))
    process.start()

    pool._track_child_process(process, hub)
    watched = list(hub.readers)
    pool._event_process_exit(hub, process)
    pool._track_child_process(process, hub)
    process.join()

    assert len(watched) == 1
    assert list(hub.readers) == []


def test_celery_alone_still_stumbles_over_it(pool: AsynPool, hub: Hub) -> None:
    """When it does not any more, the tolerance can go."""
    process = multiprocessing.get_context("fork").Process(target=os._exit, args=(0,))
    process.start()
    pool._track_child_process(process, hub)
    pool._event_process_exit(hub, process)

    with pytest.raises(ValueError, match="file descriptor is None"):
        pool._track_child_process(process, hub)

    process.join()


def test_what_an_app_says_of_its_broker_stays_said() -> None:
    """But for copies of messages, which a worker that serves groups alone never needs."""
    app = Celery("tests", set_as_current=False)
    app.conf.broker_transport_options = {"visibility_timeout": 60, "priority_steps": [0, 5], "ack_emulation": True}

    drop_lost_messages(app)

    said = {"visibility_timeout": 60, "priority_steps": [0, 5], "ack_emulation": False}
    assert app.conf.broker_transport_options == said


class Told:
    """An app's configuration, as its documentation shows it."""

    broker_connection_max_retries = 7


class ToldWithPrefix:
    """The same beside other settings, as in Django."""

    CELERY_BROKER_CONNECTION_MAX_RETRIES = 7


class ToldAsEver:
    """What happens to be Celery's default, in words."""

    BROKER_CONNECTION_MAX_RETRIES = 100


@pytest.mark.parametrize(
    ("say", "kept"),
    [
        (lambda app: None, None),
        (lambda app: app.conf.update(broker_connection_max_retries=7), 7),
        (lambda app: app.config_from_object(Told), 7),
        (lambda app: app.config_from_object(ToldWithPrefix, namespace="CELERY"), 7),
        (lambda app: app.config_from_object(ToldAsEver), 100),
    ],
    ids=["nothing", "a setting", "an object", "with a prefix", "the default, in an old name"],
)
def test_a_worker_waits_for_its_broker_as_long_as_its_app_says(
    say: Callable[[Celery], object], kept: int | None
) -> None:
    """And for ever if it says nothing, where Celery ends the worker after a hundred tries."""
    app, other = (Celery("tests", set_as_current=False) for _ in range(2))
    say(app)
    assert app.conf.broker_connection_max_retries in (7, 100)

    keep_connecting(app)

    assert app.conf.broker_connection_max_retries == kept
    assert other.conf.broker_connection_max_retries == 100
