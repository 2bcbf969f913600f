"""The paths of the console's routes, with examples of the seeded bus in the place of their parts."""

import re

from tests.console.seed import Seed


def path_of(path: str, seed: Seed) -> str:
    """The path of a route."""
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: str(seed.examples[found[1]]), path)
