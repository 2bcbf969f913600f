"""What speaks to PostgreSQL most closely, once more on the oldest PostgreSQL and the Redis that the machine has.

The rest of the suite runs on them when EVENTBUS_DATABASE_URL and EVENTBUS_BROKER_URL name them.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import requirements
from tests.support.workers import ROOT

#: Where Debian, Red Hat and Homebrew put the versions that are supported beside the embedded one.
PLACES = (
    "/usr/lib/postgresql/{}/bin/postgres",
    "/usr/pgsql-{}/bin/postgres",
    "/opt/homebrew/opt/postgresql@{}/bin/postgres",
)
MODULES = (
    "claim",
    "settlement",
    "sweep",
    "query_plans",
    "replay_plans",
    "migrations",
    "publish_in_session",
    "publish_costs",
    "broker",
)


def older_postgres() -> Path | None:
    """The oldest supported PostgreSQL of the machine, if it is older than the embedded one."""
    found = (Path(place.format(version)) for version in (15, 16, 17) for place in PLACES)
    return next((path for path in found if path.exists()), None)


@pytest.mark.timeout(600)
@pytest.mark.skipif("EVENTBUS_DATABASE_URL" in os.environ, reason="the whole run is on another server")
def test_what_is_closest_to_the_servers_holds_on_older_ones(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Statements, locks and plans are those of PostgreSQL 15 as well, and messages those of Redis."""
    postgres, redis = older_postgres(), shutil.which("redis-server")
    if postgres is None or redis is None:
        requirements.skip(request.node, "PostgreSQL 15 to 17 and redis-server on the machine")
    modules = [f"tests/integration/test_{name}.py" for name in MODULES]
    own = ("PYTEST_", "COV", "CI", "EVENTBUS_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}

    # What measures time would meet the tests around this one.
    options = ["-q", "-x", "-m", "not alone", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'run'}"]

    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *modules],
        cwd=ROOT,
        env={**environment, "EVENTBUS_POSTGRES_BIN": str(postgres), "EVENTBUS_VALKEY_BIN": redis},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout[-5000:]
