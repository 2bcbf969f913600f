"""The pages: one module for each entry of the navigation, in the order in which it lists them."""

from eventbus.console.page import Page
from eventbus.console.pages import audit, event, events, groups, overview, replays, schemas, storage, workers

PAGES: tuple[Page, ...] = (
    overview.page,
    events.page,
    groups.page,
    replays.page,
    schemas.page,
    workers.page,
    storage.page,
    audit.page,
)

# One event is a part of the page of events: it hangs its functions there when it is imported.
assert event.page is events.page
