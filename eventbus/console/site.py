"""The site: what all requests to one console share."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from jinja2 import Environment

from eventbus.bus import EventBus
from eventbus.console.background import Background
from eventbus.console.sessions import Cookies, Sessions
from eventbus.console.settings import ConsoleSettings
from eventbus.console.throttling import Throttle


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
    background: Background = field(default_factory=Background)
