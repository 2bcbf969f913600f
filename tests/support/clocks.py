"""Other times of day."""

import subprocess


def clock_that_is_off(offset: str) -> dict[str, str]:
    """The environment of a program that is to see another time of day."""
    output = subprocess.run(["faketime", "-f", offset, "env"], check=True, capture_output=True, text=True).stdout
    found = dict(line.partition("=")[::2] for line in output.splitlines())
    # Only the time of day: what a program waits for by itself is measured with another clock.
    return {name: found[name] for name in ("LD_PRELOAD", "FAKETIME")} | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
