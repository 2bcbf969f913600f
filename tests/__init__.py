"""The tests: unit, model, integration, e2e, controls, chaos and house."""

import gc
import os

# A process that imports everything has much to look through: a seventh of the tests' time, and of the start of a worker of theirs.
gc.set_threshold(20_000, 20, 20)

if mechanism := os.environ.get("EVENTBUS_TEST_WITHOUT"):
    from tests.support.weakening import weaken

    weaken(mechanism)
