"""The worker processes of the tests: real, ready when they say so, and gone after the test."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery

from eventbus.embedded import Servers
from tests.conftest import StartWorker
from tests.support import WorkerProcess, wait_until
from tests.support.workers import ROOT

CODE = """
    import os
    from celery import Celery

    app = Celery("app", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
    app.conf.task_default_queue = os.environ["QUEUE"]

    @app.task(name="pid")
    def pid():
        return os.getpid()
"""


@pytest.fixture
def worker(start_worker: StartWorker, broker_url: str, prefix: str) -> WorkerProcess:
    """A worker with one task."""
    return start_worker(code=CODE, environment={"BROKER": broker_url, "QUEUE": prefix})


def call(broker_url: str, queue: str) -> int:
    """Run the task and return the id of the process it ran in."""
    with Celery("client", broker=broker_url, backend=broker_url) as app:
        result = app.send_task("pid", queue=queue)
        answer = result.get(timeout=10)
        result.forget()
        app.backend.result_consumer.stop()
        app.backend.client.connection_pool.disconnect()
        return answer


def test_a_worker_runs_tasks_in_its_pool(worker: WorkerProcess, broker_url: str, prefix: str) -> None:
    """What the fixture returns consumes already."""
    assert worker.is_running
    assert call(broker_url, prefix) != worker.pid


def test_a_stopped_worker_ends_in_good_order(worker: WorkerProcess) -> None:
    """SIGTERM is a warm shutdown."""
    assert worker.stop() == 0

    assert not worker.is_running


def test_a_killed_worker_leaves_no_child(worker: WorkerProcess, broker_url: str, prefix: str) -> None:
    """The pool goes with the main process, as when a machine is lost."""
    child = call(broker_url, prefix)

    worker.kill()

    assert worker.exit_code == -signal.SIGKILL
    wait_until(lambda: not Path(f"/proc/{child}").exists(), message="child gone")


def test_a_worker_whose_main_process_alone_is_killed_is_reaped(
    worker: WorkerProcess, broker_url: str, prefix: str
) -> None:
    """What is left of the pool is killed with the process group."""
    call(broker_url, prefix)

    worker.send_signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    worker.reap()

    with pytest.raises(ProcessLookupError):
        wait_until(lambda: os.killpg(worker.pid, 0), message="group gone")


def test_a_worker_that_cannot_start_says_why(start_worker: StartWorker) -> None:
    """Its log is in the failure."""
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        start_worker(code="1 / 0", environment={})


def test_each_test_has_a_migrated_database_of_its_own(database_url: str, servers: Servers) -> None:
    """Copied from the template, beside the server's first database."""
    assert database_url != servers.database_url
    assert "/eventbus_test_" in database_url


def test_coverage_measures_the_children_of_a_pool(tmp_path: Path, broker_url: str, prefix: str) -> None:
    """A line that only a forked child runs is counted; without that the coverage gate would be wrong."""
    script = f"""
        from pathlib import Path
        from tests.support import WorkerProcess
        from tests.integration.test_worker_process import CODE, call

        worker = WorkerProcess(Path({str(tmp_path / "worker")!r}), code=CODE,
                               environment={{"BROKER": {broker_url!r}, "QUEUE": {prefix!r}}}).start()
        call({broker_url!r}, {prefix!r})
        worker.stop()
    """
    (tmp_path / "script.py").write_text(
        "\n".join(line.strip() if "=" in line[:40] else line[8:] for line in script.splitlines())
    )
    (tmp_path / "coverage.ini").write_text(
        "[run]\nbranch = true\nparallel = true\npatch =\n  subprocess\n  fork\n  _exit\nsigterm = true\n"
        f"source = {tmp_path}\ndata_file = {tmp_path}/data\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}

    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "coverage", *arguments, f"--rcfile={tmp_path}/coverage.ini"],
            env={**environment, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    run_script = [
        sys.executable,
        "-m",
        "coverage",
        "run",
        f"--rcfile={tmp_path}/coverage.ini",
        str(tmp_path / "script.py"),
    ]
    subprocess.run(run_script, env={**environment, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, check=True)
    run("combine", "--quiet")

    assert "100%" in next(line for line in run("report").splitlines() if "app.py" in line)
