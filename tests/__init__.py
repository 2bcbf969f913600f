"""The tests: unit, integration, e2e, chaos and house."""
