"""What a process of one system needs to know: its own database and its own database number in Redis.

It travels in the environment, because worker processes are started by the command lines of the systems themselves.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

DATABASE, BROKER, TRACES = "BENCH_DATABASE_URL", "BENCH_BROKER_URL", "BENCH_TRACES"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where one system runs."""

    database_url: str
    broker_url: str
    #: Where handlers note how late they started; None where nobody asks.
    traces: Path | None = None

    def environment(self) -> dict[str, str]:
        """Variables for a process on this stage, eventbus's own names among them."""
        return {
            DATABASE: self.database_url,
            BROKER: self.broker_url,
            TRACES: str(self.traces or ""),
            "EVENTBUS_DATABASE_URL": self.database_url,
            "EVENTBUS_BROKER_URL": self.broker_url,
        }

    @property
    def broker_host(self) -> tuple[str, int, int]:
        """Host, port and database number of the broker."""
        parts = urlsplit(self.broker_url)
        return parts.hostname or "127.0.0.1", parts.port or 6379, int(parts.path.strip("/") or 0)


def current(environment: Mapping[str, str] = os.environ) -> Stage:
    """The stage of this process."""
    traces = environment.get(TRACES)
    return Stage(
        database_url=environment[DATABASE],
        broker_url=environment[BROKER],
        traces=Path(traces) if traces else None,
    )
