"""Kept: the outcome of each storm as a file, so that a run of many that was interrupted goes on where it was."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.chaos.storm import Outcome, Struck
from tests.chaos.verdict import Verdict, Window

FOLDER = Path(__file__).resolve().parents[2] / "build" / "chaos"


def keep(outcome: Outcome, folder: Path = FOLDER) -> None:
    """Write *outcome* down, in the place of an earlier one of its seed."""
    noted = asdict(outcome)
    noted["verdict"]["deliveries"] = dict(outcome.verdict.deliveries)  # asdict would count its pairs
    folder.mkdir(parents=True, exist_ok=True)
    _path(folder, outcome.seed).write_text(json.dumps(noted, indent=1))


def find(seed: int, seconds: float, folder: Path = FOLDER) -> Outcome | None:
    """The outcome of *seed* and so many *seconds* that was kept, if nothing was wrong with it."""
    path = _path(folder, seed)
    if not path.exists():
        return None
    outcome = _outcome(json.loads(path.read_text()))
    return outcome if outcome.seconds == seconds and not outcome.problems else None


def _path(folder: Path, seed: int) -> Path:
    return folder / f"{seed}.json"


def _outcome(noted: dict[str, Any]) -> Outcome:
    verdict = noted.pop("verdict")
    windows = [Window(**window) for window in verdict.pop("windows")]
    deliveries = Counter(verdict.pop("deliveries"))
    strikes = [Struck(**strike) for strike in noted.pop("strikes")]
    return Outcome(**noted, strikes=strikes, verdict=Verdict(**verdict, windows=windows, deliveries=deliveries))
