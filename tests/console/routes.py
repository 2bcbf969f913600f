"""The paths of the console's routes, with examples of the seeded bus in the place of their parts."""

import re

from eventbus.console.page import Shown
from eventbus.console.pages import PAGES
from tests.console.seed import Seed


def path_of(path: str, seed: Seed, **examples: object) -> str:
    """The path of a route; *examples* go before those of the seed."""
    known = {**seed.examples, **examples}
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: str(known[found[1]]), path)


def pages_of(seed: Seed) -> list[str]:
    """The paths of all pages that a browser shows, and of those of what is evil."""
    routes = [route for page in PAGES for route in page.routes if isinstance(route, Shown)]
    shown = [path_of(route.path, seed) for route in routes if not route.path.endswith(".json")]
    return [*shown, f"/events/{seed.evil.id}", f"/dead/{seed.evil_letter_id}"]
