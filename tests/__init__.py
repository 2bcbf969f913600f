"""The tests: unit, model, integration, e2e, controls, chaos and house."""

import os

if mechanism := os.environ.get("EVENTBUS_TEST_WITHOUT"):
    from tests.support.weakening import weaken

    weaken(mechanism)
