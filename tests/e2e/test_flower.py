"""Flower beside groups at work: what a person reads there, and who may."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from eventbus.embedded.server import free_port
from tests.e2e.stage import TIMEOUT, Stage, command_line
from tests.support import wait_until
from tests.support.browser import browser_page
from tests.support.flower import running_flower, status
from tests.support.workers import ROOT

#: As Flower is started in a checkout, whose flowerconfig.py it then reads.
BY_CELERY = [sys.executable, "-m", "celery", "-A", "workers.app", "flower"]


@pytest.fixture(scope="module")
def flower(stage: Stage) -> Iterator[str]:
    """`eventbus flower`."""
    port = free_port()
    argv = command_line("flower", f"--port={port}")
    environment = {**stage.environment, "PYTHONPATH": str(ROOT)}
    with running_flower(argv, port=port, folder=stage.folder, environment=environment) as url:
        yield url


@pytest.mark.chromium
def test_a_person_sees_groups_at_work(stage: Stage, flower: str, tmp_path: Path) -> None:
    """Workers, queues and tasks by their groups, with readable arguments; RETRY and then SUCCESS, FAILURE with its traceback."""
    worker = stage.start(groups=["flaky", "patient"], arguments=["-E"])
    name = f"{worker.folder.name}@"
    with browser_page(tmp_path) as page:
        page.goto(f"{flower}/workers")
        expect(page.get_by_role("row").filter(has_text=name)).to_contain_text("Online", timeout=TIMEOUT * 1000)

        dying = stage.publish("flaky.asked", {"error": "ValueError"})
        recovering = stage.publish("slow.asked", {"error": "ValueError", "failures": 1})
        stage.wait_for_state(dying, "flaky", "dead")
        row = find_task(page, flower, "slow.asked", recovering.id, "RETRY")
        assert row[:2] == [stage.queue("patient"), f"slow.asked {recovering.id}"]
        stage.change("UPDATE eventbus.delivery SET due_at = now() WHERE event_id = :id", id=recovering.id)
        stage.bus.sweep()
        stage.wait_for_state(recovering, "patient", "done")

        find_task(page, flower, "slow.asked", recovering.id, "SUCCESS")
        row = find_task(page, flower, "flaky.asked", dying.id, "FAILURE")
        assert row[:4] == [stage.queue("flaky"), f"flaky.asked {dying.id}", "FAILURE", "3"]

        page.get_by_role("link", name=row[-1]).click()
        facts = page.locator("dl")
        expect(facts).to_contain_text(f"flaky.asked {dying.id}")
        shown = facts.inner_text()
        assert "FAILURE" in shown
        assert "ValueError: as asked, in attempt 4" in shown or "ValueError('as asked, in attempt 4')" in shown
        assert re.search(r"Traceback.*failures\.py.*in raise_as.*ValueError", shown, re.DOTALL)

        queues = page.locator("#worker-queues tr")
        wait_until(
            lambda: page.goto(f"{flower}/worker/{name}{socket.gethostname()}") and queues.count(), timeout=TIMEOUT
        )
        page.get_by_role("tab", name="Queues").click()
        names = {text.split()[0] for text in queues.all_inner_texts()}
        assert {stage.queue("flaky"), stage.queue("patient")} <= names
        page.goto(f"{flower}/broker")
        assert names <= set(page.inner_text("table").split())


def find_task(page: Page, flower: str, type: str, id: object, state: str) -> Sequence[str]:
    """The cells of the task of that event and state on the page of tasks, as soon as it is there."""

    def found() -> list[str] | None:
        page.goto(f"{flower}/tasks")
        expect(page.get_by_text(re.compile(r"Showing \d+ to \d+ of"))).to_be_visible()
        rows = page.locator("tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        )
        return next((cells for cells in rows if cells[1:3] == [f"{type} {id}", state]), None)

    cells = wait_until(found, timeout=TIMEOUT, message=lambda: f"{state} of {type} {id}:\n{page.inner_text('body')}")
    assert cells is not None
    return cells


def test_flower_is_reached_from_this_machine_only(stage: Stage, flower: str, tmp_path: Path) -> None:
    """Not by its other addresses; its API refuses whoever has no password; its metrics, as documented, refuse nobody."""
    port = free_port()
    others = [flower.replace("127.0.0.1", "127.0.0.2"), f"http://127.0.0.2:{port}"]

    with running_flower(
        [*BY_CELERY, f"--port={port}"], port=port, folder=ROOT, log=tmp_path / "log", environment=stage.environment
    ) as by_celery:
        assert [status(url) for url in others] == [0, 0]
        for url in (flower, by_celery):
            assert (status(url), status(f"{url}/api/workers"), status(f"{url}/metrics")) == (200, 401, 200)


def test_flower_is_open_to_nobody_without_a_password(stage: Stage, tmp_path: Path) -> None:
    """On another address it does not start without one, however it is started, and asks for it if it does."""
    port = free_port()
    exposed = [f"--port={port}", "--address=0.0.0.0"]
    environment = {**stage.environment, "PYTHONPATH": str(ROOT)}

    refused = [
        start(command_line("flower", *exposed), tmp_path, environment),
        start([*BY_CELERY, *exposed], ROOT, environment),
    ]
    ended = [(process.communicate(timeout=TIMEOUT)[0], process.returncode) for process in refused]

    for printed, code in ended:
        assert (code, "Flower on 0.0.0.0 would be open to everyone" in printed, "Traceback" in printed) == (
            2,
            True,
            False,
        )

    environment["FLOWER_BASIC_AUTH"] = "me:s3cr3t"
    argv = command_line("flower", *exposed)
    with running_flower(argv, port=port, folder=tmp_path, environment=environment) as url:
        elsewhere = url.replace("127.0.0.1", "127.0.0.2")
        assert (status(elsewhere), status(elsewhere, credentials="me:s3cr3t")) == (401, 200)
        assert status(f"{elsewhere}/api/workers", credentials="me:s3cr3t") == 200


def start(argv: Sequence[str], folder: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
    """A process whose end is waited for."""
    return subprocess.Popen(
        argv, cwd=folder, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
