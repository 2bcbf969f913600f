"""The paths of the console's routes, with examples of the seeded bus in the place of their parts."""

import re

from tests.console.seed import Seed


def path_of(path: str, seed: Seed, **examples: object) -> str:
    """The path of a route; *examples* go before those of the seed."""
    known = {**seed.examples, **examples}
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: str(known[found[1]]), path)
