"""The performance: the story told on its stage, step by step, to the closing table."""

import time
from collections.abc import Sequence
from pathlib import Path

from eventbus.demo.event_file import BUILT_IN, read_events
from eventbus.demo.narration import Narrator
from eventbus.demo.proof import Proof, StoryStopped
from eventbus.demo.stage import Stage, open_stage
from eventbus.demo.story import Step, steps
from eventbus.errors import EventBusError


def perform(file: Path | None) -> bool:
    """Tell the story, with the events in *file* or with our own; whether all of it held.

    Raises:
        UnusableFile: Nothing was started.
        EventBusError, StoryStopped: The stage could not be set. Nothing is left of it.
    """
    story = steps(read_events(file or BUILT_IN), file)
    started = time.monotonic()
    with Narrator() as narrator:
        with open_stage(narrator) as stage:
            proofs = _tell(story, stage)
            if not all(proof.holds for proof in proofs):
                _show_logs(stage)
        held = sum(proof.holds for proof in proofs)
        narrator.close(f"{held} of {len(story)} steps held, in {time.monotonic() - started:.0f} s", proofs)
    return held == len(story)


def _tell(story: Sequence[Step], stage: Stage) -> list[Proof]:
    """Tell *story* to its end, or to the first step that does not hold: what follows builds on it."""
    proofs: list[Proof] = []
    for step in story:
        if proofs and not proofs[-1].holds:
            proofs.append(Proof(letter=step.letter, claim=step.claim, failure="not reached", reached=False))
            continue
        stage.narrator.step(step.letter, step.claim)
        try:
            proof = Proof(letter=step.letter, claim=step.claim, figures=tuple(step.tell(stage)))
        except (EventBusError, StoryStopped) as error:
            proof = Proof(letter=step.letter, claim=step.claim, failure=str(error))
        stage.narrator.conclude(proof)
        proofs.append(proof)
    return proofs


def _show_logs(stage: Stage) -> None:
    for name, tail in stage.services.log_tails():
        stage.narrator.say(f"--- the end of {name} ---\n{tail}")
