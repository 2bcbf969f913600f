"""The pages: one module for each entry of the navigation, in the order in which it lists them."""

from eventbus.console.page import Page
from eventbus.console.pages import audit, groups, overview

PAGES: tuple[Page, ...] = (
    overview.page,
    groups.page,
    audit.page,
)
