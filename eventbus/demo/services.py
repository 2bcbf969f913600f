"""Services: the sample services as separate worker processes, run from a copy of their folder that may be changed.

workers/, celeryconfig.py ──copy──▶ <temporary folder> ◀──cwd── celery -A workers.app worker -Q eventbus.<group>
"""

import difflib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from eventbus.demo.proof import StoryStopped
from eventbus.embedded.processes import Command, GuardedProcess, log_tail
from eventbus.errors import ConfigurationError

#: The folder that holds the eventbus package: in a checkout, the sample services lie beside it.
_HOME = Path(__file__).resolve().parents[2]
_STOP_SECONDS = 15


class Services:
    """The worker processes of the demonstration, one at most for each group."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], *, transport_options: Mapping[str, object]
    ) -> None:
        """Copy the sample services into *folder*.

        Raises:
            ConfigurationError: They are not there: eventbus was installed without its checkout.
        """
        self._folder = folder
        paths = [str(folder), str(_HOME), environment.get("PYTHONPATH", "")]
        self._environment = {**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self._running: dict[str, GuardedProcess] = {}
        if not (_HOME / "workers" / "app.py").exists():
            raise ConfigurationError(
                f"the sample services are not beside {_HOME / 'eventbus'}: run the demo in a checkout of eventbus."
            )
        shutil.copytree(_HOME / "workers", folder / "workers", ignore=shutil.ignore_patterns("__pycache__"))
        configuration = (_HOME / "celeryconfig.py").read_text()
        if transport_options:
            configuration += f"\nbroker_transport_options.update({dict(transport_options)!r})\n"
        (folder / "celeryconfig.py").write_text(configuration)

    def create_tables(self) -> None:
        """Create the tables in which the sample services leave their effects."""
        made = subprocess.run(
            [sys.executable, "-m", "workers.tables"],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise StoryStopped(f"python -m workers.tables ended with exit code {made.returncode}:\n{made.stderr}")

    def start(self, group: str, *, app: str, queue: str) -> str:
        """Start the worker of *group*; the command, as one would type it."""
        shown = ["celery", "-A", app, "worker", "-Q", queue]
        self._running[group] = GuardedProcess(
            Command(
                argv=[
                    *(sys.executable, "-m", *shown, "--hostname", f"{group}@%h", "--concurrency", "2"),
                    *("--loglevel", "INFO", "--without-mingle", "--without-gossip"),
                ],
                log_path=self._folder / f"{group}.log",
                folder=self._folder,
                environment=self._environment,
                stop_seconds=_STOP_SECONDS,
                remove=self._folder,
            )
        )
        return " ".join(shown)

    def stop(self, group: str) -> None:
        """End the worker of *group* in good order."""
        self._running.pop(group).stop()

    def kill(self, group: str) -> None:
        """Kill the worker of *group* with its children, at once."""
        self._running.pop(group).kill()

    def close(self) -> None:
        """Kill all workers: nothing that they do from now on is of interest."""
        for group in list(self._running):
            self.kill(group)

    def check(self) -> None:
        """Make sure that all workers run.

        Raises:
            StoryStopped: One has ended by itself.
        """
        for group, process in self._running.items():
            if not process.is_running:
                raise StoryStopped(f"the worker of {group} ended by itself, with exit code {process.exit_code}.")

    def patch(self, name: str, before: str, after: str) -> str:
        """Replace *before*, which occurs once in the sample service's file *name*; the difference, as diff shows it."""
        path = self._folder / "workers" / name
        old = path.read_text()
        if old.count(before) != 1:
            raise StoryStopped(f"workers/{name} does not contain {before!r} once.")
        new = old.replace(before, after)
        path.write_text(new)
        shown = f"workers/{name}"
        return "".join(difflib.unified_diff(old.splitlines(True), new.splitlines(True), shown, shown, n=0))

    def log_tails(self, lines: int = 15) -> Iterator[tuple[str, str]]:
        """The name and the end of each worker's log."""
        for path in sorted(self._folder.glob("*.log")):
            yield path.name, log_tail(path, lines)


@contextmanager
def open_services(
    folder: Path, environment: Mapping[str, str], *, transport_options: Mapping[str, object]
) -> Iterator[Services]:
    """The sample services, none of them running; at the end none runs either."""
    services = Services(folder, environment, transport_options=transport_options)
    try:
        yield services
    finally:
        services.close()
