"""Flower as a process."""

import os
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from eventbus.embedded.processes import Command, GuardedProcess, log_tail
from tests.support.waiting import wait_until


@contextmanager
def running_flower(
    argv: Sequence[str], *, port: int, folder: Path, environment: Mapping[str, str], log: Path | None = None
) -> Iterator[str]:
    """Flower, started by *argv* in *folder*; its address, as soon as it answers there. Its log is in the folder, too."""
    log = log or folder / f"flower-{port}.log"
    process = GuardedProcess(
        Command(argv=argv, log_path=log, folder=folder, environment={**os.environ, **environment}, stop_seconds=5)
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.is_running, log_tail(log)
        return status(f"{url}/healthcheck") == 200

    try:
        wait_until(answers, timeout=60, message=lambda: f"Flower:\n{log_tail(log)}")
        yield url
    finally:
        process.stop()


def status(url: str, *, credentials: str | None = None) -> int:
    """The status with which *url* answers; 0 if nobody is there."""
    request = urllib.request.Request(url)
    if credentials:
        request.add_header("Authorization", f"Basic {b64encode(credentials.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except urllib.error.URLError:
        return 0
