"""Reading traces: how late handlers started, as `benchmarks.traces` noted it."""

from pathlib import Path


def read(folder: Path) -> list[float]:
    """All that was noted in *folder*, in seconds."""
    return [float(line) for file in sorted(folder.glob("*.txt")) for line in file.read_text().splitlines()]
