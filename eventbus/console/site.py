"""The site: what all requests to one console share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jinja2 import Environment

from eventbus.bus import EventBus
from eventbus.console.background import Background
from eventbus.console.counts import Counts
from eventbus.console.readings import Reading
from eventbus.console.sessions import Cookies, Sessions
from eventbus.console.settings import ConsoleSettings
from eventbus.console.threads import Threads
from eventbus.console.throttling import Throttle
from eventbus.console.trials import Trials
from eventbus.lifecycle.diagnosing import Finding
from eventbus.lifecycle.health import Answer, Verdict
from eventbus.lifecycle.replay_planning import Plan
from eventbus.storage.overview.pulse import Pulse
from eventbus.storage.overview.space import Space


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the navigation."""

    title: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Site:
    """One console."""

    bus: EventBus
    settings: ConsoleSettings
    templates: Environment
    navigation: Sequence[Entry]
    cookies: Cookies
    sessions: Sessions = field(default_factory=Sessions)
    throttle: Throttle = field(default_factory=Throttle)
    threads: Threads = field(default_factory=Threads)
    background: Background = field(default_factory=Background)
    trials: Trials = field(default_factory=Trials)
    #: What replays would do.
    plans: Counts[Plan] = field(default_factory=Counts)
    #: What pages show of the whole bus.
    pulse: Reading[Pulse]
    findings: Reading[list[Finding]]
    space: Reading[Space]
    #: Messages in the queue of each group; None while the broker cannot be asked.
    broker_depths: Reading[Mapping[str, int] | None]
    #: Whether it answers, for pages that ask no more of it.
    broker: Reading[Answer]

    @property
    def is_broker_away(self) -> bool:
        """Nothing that is retried or replayed now wakes a worker."""
        return self.broker.take().verdict is not Verdict.OK

    def has_changed(self) -> None:
        """Whoever looks next sees what is new."""
        for reading in (self.pulse, self.findings, self.space, self.broker_depths):
            reading.forget()
