"""The report: what storms left behind is kept, goes on after an interruption, and becomes a page."""

from collections import Counter
from pathlib import Path

from tests.chaos import kept, report
from tests.chaos.storm import Outcome, Struck
from tests.chaos.verdict import CHECKS, Verdict, Window

NAME = "PostgreSQL restarted"


def outcome_of(seed: int, *, lost: int = 0) -> Outcome:
    """What a storm with one fault left."""
    findings = {name: ["an event"] * (lost if name == "lost" else 0) for name in [*CHECKS, "owed to the guest"]}
    return Outcome(
        seed=seed,
        seconds=45,
        strikes=[Struck(name=NAME, began=1.0, healed=2.0, recovered_after=seed / 10)],
        queued=[0, 0],
        load=float(seed),
        verdict=Verdict(
            findings=findings,
            windows=[Window(name=NAME, events=1000, lost=lost, repeated_runs=2, repeated_effects=0)],
            events=1500,
            deliveries=Counter(done=4500),
        ),
    )


def test_the_page_has_a_line_for_each_fault_and_all_seeds(tmp_path: Path) -> None:
    """Sums, the median and the slowest recovery, what else the machine did, and which seeds to repeat."""
    page = tmp_path / "chaos.md"

    report.write_page([outcome_of(5), outcome_of(21)], page)
    text = page.read_text()

    assert f"| {NAME} | 2 | 2,000 | 0 | 4 | 0 | 1.3 s | 2.1 s |" in text
    assert "| all storms | 2 | 3,000 | 0 |  | 0 |  |  |" in text
    assert "load average was 5.0 to 21.0" in text
    assert "2 seeds, 3,000 events; seeds that failed: none." in text
    assert "Seeds: 5, 21." in text


def test_what_passed_is_not_run_again_and_what_failed_is(tmp_path: Path) -> None:
    """Only as long as it lasted as long, and with all that the page says of it."""
    passed, failed = outcome_of(1), outcome_of(2, lost=1)
    for outcome in (passed, failed):
        kept.keep(outcome, tmp_path)

    assert kept.find(1, 45, tmp_path) == passed
    assert [kept.find(seed, seconds, tmp_path) for seed, seconds in [(1, 60), (2, 45), (3, 45)]] == [None] * 3
    assert report.cells([passed, failed])[0][3] == "1"
