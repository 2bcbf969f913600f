"""The scenarios: what may happen, as little at a time as still shows each danger."""

from tests.model.states import Scenario

_BOTH = frozenset({0, 1})
_OLD_AND_NEW = (frozenset({0}), _BOTH)

SCENARIOS = (
    Scenario(
        name="lost and repeated wake-ups",
        states=2253,
        handlers=("fails", "ok"),
        faults={"loss": 1, "repeat": 1, "claim_lost": 1},
        workers=2,
        max_attempts=2,
    ),
    Scenario(
        name="busy queue",
        states=1095,
        handlers=("fails", "ok"),
        faults={"kill_worker": 1},
        workers=2,
        max_attempts=2,
        busy=True,
    ),
    Scenario(name="paused group", states=489, handlers=("ok", "fails"), faults={"pause": 2, "loss": 1}, max_attempts=2),
    Scenario(
        name="old and new code",
        states=2455,
        handlers=("ok", "ok"),
        faults={"loss": 1, "kill_worker": 1},
        workers=2,
        knows=_OLD_AND_NEW,
    ),
    Scenario(
        name="poison kills child",
        states=2657,
        handlers=("kills_child", "ok"),
        faults={"kill_child": 1, "loss": 1, "repeat": 1},
        workers=2,
    ),
    Scenario(name="poison kills worker", states=789, handlers=("kills_worker", "ok"), children=2, extra_starts=1),
    Scenario(
        name="poison after innocent",
        states=1232,
        handlers=("ok", "kills_worker"),
        faults={"kill_child": 1},
        extra_starts=1,
    ),
    Scenario(
        name="poison and shutdown", states=2017, handlers=("kills_worker", "ok"), faults={"shutdown": 2}, extra_starts=1
    ),
    Scenario(
        name="poison and claimants that die",
        states=476,
        handlers=("kills_worker",),
        faults={"kill_child": 1, "shutdown": 1},
        extra_starts=1,
    ),
    Scenario(name="poison after returning", states=115, handlers=("kills_late", "ok"), faults={"loss": 1}),
    Scenario(
        name="external kills",
        states=6549,
        handlers=("ok", "ok"),
        faults={"kill_worker": 1, "kill_child": 1},
        workers=2,
    ),
    Scenario(
        name="repeated kills",
        states=5879,
        handlers=("ok",),
        faults={"kill_worker": 3, "kill_child": 1, "claim_lost": 1},
        workers=2,
    ),
    Scenario(
        name="orphans",
        states=3285,
        handlers=("ok", "ok"),
        faults={"kill_main": 1, "stall": 1},
        workers=2,
        sessions=_BOTH,
    ),
    Scenario(name="zombies", states=11974, handlers=("ok", "ok"), faults={"freeze": 2}, workers=2, sessions=_BOTH),
    Scenario(
        name="zombie and replay",
        states=6440,
        handlers=("ok",),
        faults={"freeze": 1, "replay": 2, "kill_child": 1},
        workers=2,
        sessions=_BOTH,
    ),
    Scenario(
        name="zombie and dead-letter retry",
        states=19052,
        handlers=("fails",),
        faults={"freeze": 1, "retry": 2, "discard": 1, "replay": 1},
        workers=2,
    ),
    Scenario(
        name="zombie and shutdown", states=18590, handlers=("ok", "ok"), faults={"shutdown": 1, "freeze": 1}, workers=2
    ),
    Scenario(
        name="zombie and kill",
        states=1162,
        handlers=("ok",),
        faults={"freeze": 1, "kill_worker": 1},
        workers=2,
        sessions=_BOTH,
    ),
    Scenario(name="rolling restarts", states=1561, handlers=("ok",), faults={"shutdown": 3, "stall": 1}, workers=2),
    Scenario(name="replay", states=3171, handlers=("ok", "kills_child"), faults={"replay": 2, "kill_child": 1}),
    Scenario(
        name="settling fails",
        states=11447,
        handlers=("ok", "fails"),
        faults={"settle_fails": 2, "claim_lost": 1, "kill_child": 1},
        sessions=frozenset({0}),
        max_attempts=2,
    ),
    Scenario(
        name="hanging handler",
        states=1506,
        handlers=("ok", "ok"),
        faults={"hang": 1, "kill_child": 1},
        workers=2,
        max_attempts=2,
    ),
    Scenario(
        name="PostgreSQL crashes",
        states=8991,
        handlers=("ok", "kills_child"),
        faults={"postgres_crash": 2, "kill_worker": 1},
        workers=2,
        extra_starts=1,
    ),
    Scenario(
        name="PostgreSQL crashes, with session",
        states=7798,
        handlers=("ok", "ok"),
        faults={"postgres_crash": 2, "kill_worker": 1},
        workers=2,
        sessions=_BOTH,
    ),
    Scenario(
        name="PostgreSQL crashes after a claim", states=20, handlers=("kills_child",), faults={"postgres_crash": 1}
    ),
    Scenario(
        name="everything, with session",
        states=112278,
        handlers=("ok",),
        faults={"freeze": 1, "kill_main": 1, "postgres_crash": 1, "replay": 1, "settle_fails": 1},
        workers=2,
        sessions=_BOTH,
    ),
    Scenario(
        name="everything, plain",
        states=39675,
        handlers=("fails",),
        faults={"freeze": 1, "kill_worker": 1, "postgres_crash": 1, "settle_fails": 1, "retry": 1, "pause": 1},
        workers=2,
    ),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
