"""The shop with a database that fails once in each process, just when a failed run is settled."""

from typing import Any

from eventbus.errors import DatabaseUnreachable
from eventbus.lifecycle.execution import Execution
from tests.e2e.shop.app import app as app

_fail = Execution.fail
_failures = [DatabaseUnreachable("the connection was lost, as asked.")]


def fail(self: Execution, *arguments: Any) -> Any:
    """Fail once, then settle."""
    if _failures:
        raise _failures.pop()
    return _fail(self, *arguments)


Execution.fail = fail  # type: ignore[method-assign,assignment]
