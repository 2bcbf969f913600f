"""Much computing, no servers: measuring coverage would only slow it down, and it takes its time."""

from collections.abc import Iterator

import coverage
import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests time."""
    for item in items:
        if "integration/schemas" in item.path.as_posix():
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="module", autouse=True)
def unmeasured() -> Iterator[None]:
    """Measure nothing meanwhile."""
    measuring = coverage.Coverage.current()
    if measuring:
        measuring.stop()
    yield
    if measuring:
        measuring.start()
