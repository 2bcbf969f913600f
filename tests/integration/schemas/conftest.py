"""Much computing, no servers: it takes its time."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests time."""
    for item in items:
        if "integration/schemas" in item.path.as_posix():
            item.add_marker(pytest.mark.timeout(600))
