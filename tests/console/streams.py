"""What streams of the console say, without a browser."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def first_pulse(url: str) -> Iterator[list[dict[str, str]]]:
    """What a live stream says first, while it is open."""
    with urllib.request.urlopen(url, timeout=20) as stream:
        # A pulse is one chunk of the answer, whose length comes before it.
        chunk = stream.fp.read(int(stream.fp.readline(), 16)).decode()
        yield [json.loads(line.removeprefix("data: ")) for line in chunk.splitlines() if line.startswith("data: ")]
