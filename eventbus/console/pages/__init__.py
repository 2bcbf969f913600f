"""The pages: one module for each entry of the navigation, in the order in which it lists them."""

from eventbus.console.page import Page
from eventbus.console.pages import (
    audit,
    dead,
    dead_changes,
    dead_trials,
    event,
    events,
    groups,
    overview,
    replay_wizard,
    replays,
    schemas,
    storage,
    workers,
)

PAGES: tuple[Page, ...] = (
    overview.page,
    events.page,
    dead.page,
    groups.page,
    replays.page,
    schemas.page,
    workers.page,
    storage.page,
    audit.page,
)

# These are parts of a page: they hang their functions on it when they are imported.
assert event.page is events.page
assert replay_wizard.page is replays.page
assert dead_changes.page is dead_trials.page is dead.page
