"""Declaring subscriptions: what a handler may look like, and which two handlers cannot live in one group."""

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from types import CodeType
from typing import Any

import pytest
from celery import Celery

from eventbus import Event, EventBus
from eventbus.errors import InvalidSubscription, SubscriptionConflict
from eventbus.retry import RetryPolicy
from eventbus.subscription import Subscription, Subscriptions, declare


def plain(event): ...


def other(event): ...


async def asynchronous(event, delivery): ...


def generating(event, session):
    yield event


async def generating_asynchronously(event):
    yield event


class Generating:
    """An object whose call, or method, is a generator."""

    def __call__(self, event):
        yield event

    def method(self, event):
        yield event


class Mailer:
    """A class, not a handler."""

    def __init__(self, event): ...


class Callable_:
    """An object that can be called."""

    def __call__(self, event, session): ...

    def method(self, event, *, delivery, session): ...


def subscribed(handler: Any, pattern: str = "order.created", **options: Any) -> Subscription:
    """A checked subscription of the group ``g``."""
    defaults: dict[str, Any] = {"timeout": timedelta(seconds=1), "replay": "run", "retry": RetryPolicy()}
    return declare(pattern, group="g", handler=handler, **{**defaults, **options})


@pytest.mark.parametrize(
    ("handler", "takes"),
    [
        (plain, set()),
        (asynchronous, {"delivery"}),
        (Callable_(), {"session"}),
        (Callable_().method, {"delivery", "session"}),
        (functools.partial(lambda bound, event, session: None, 1), {"session"}),
        (lambda event, limit=3: None, set()),
        (lambda *events: None, set()),
        (lambda event, *rest, **options: None, set()),
        (lambda event, *session: None, set()),
        (lambda event, /, delivery: None, {"delivery"}),
    ],
)
def test_a_handler_takes_the_event_and_what_it_names(handler: Callable[..., Any], takes: set[str]) -> None:
    """`delivery` and `session` are given to the handlers that ask for them by name."""
    assert subscribed(handler).takes == takes


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        ("not a function", "is not callable"),
        (lambda: None, "takes no positional argument"),
        (lambda *, event: None, "takes no positional argument"),
        (lambda **options: None, "takes no positional argument"),
        (lambda session: None, "takes 'session' first: a handler's first argument is the event"),
        (lambda delivery, event: None, "takes 'delivery' first"),
        (lambda event, database: None, "asks for 'database'"),
        (lambda event, *, database: None, "asks for 'database'"),
        (lambda event, delivery, /: None, "takes 'delivery' by position"),
        (lambda event, session=None, /: None, "takes 'session' by position"),
        (generating, r"\.generating is a generator, whose code would never run"),
        (generating_asynchronously, "is a generator"),
        (lambda event: (yield event), "is a generator"),
        (functools.partial(generating), "is a generator"),
        (Generating(), r"\.Generating is a generator"),
        (functools.partial(Generating()), "is a generator"),
        (Generating().method, "is a generator"),
        (Mailer, r"\.Mailer is a class: a handler is a function"),
        (functools.partial(Mailer), "is a class"),
        (str, r"builtins\.str is a class"),
    ],
)
def test_a_handler_that_could_not_be_called_is_refused(handler: Any, reason: str) -> None:
    """The error comes at import, not with the first event."""
    with pytest.raises(InvalidSubscription, match=reason):
        subscribed(handler)


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        (plain, ".plain"),
        (functools.partial(plain), ".plain"),
        (Callable_(), ".Callable_"),
        (functools.partial(Callable_()), ".Callable_"),
        (Callable_().method, ".Callable_.method"),
    ],
)
def test_a_handler_is_named_by_where_it_is_defined(handler: Any, name: str) -> None:
    """What the database and every conflict shows leads to the code."""
    assert subscribed(handler).handler_name == __name__ + name


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"replay": "sometimes"}, "replay='sometimes'"),
        ({"timeout": timedelta(0)}, "timeout="),
        ({"timeout": 30}, "timeout=30"),
        ({"timeout": timedelta(days=31)}, "at most 30 days"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused(options: dict[str, Any], reason: str) -> None:
    """Options are checked where they are written."""
    with pytest.raises(InvalidSubscription, match=reason):
        subscribed(plain, **options)


def test_the_policy_is_shown_as_json() -> None:
    """What is stored beside a subscription says how it behaves, in seconds."""
    retry = RetryPolicy(max_retries=5, give_up_on=(KeyError,))

    assert subscribed(plain, retry=retry, replay="skip").policy() == {
        "max_retries": 5,
        "backoff_seconds": 2.0,
        "backoff_max_seconds": 600.0,
        "give_up_on": ["builtins.KeyError"],
        "timeout_seconds": 1.0,
        "replay": "skip",
    }


def test_two_handlers_of_a_group_that_could_claim_one_event_conflict() -> None:
    """An event is one delivery per group, so two handlers for it cannot both be right; both are named."""
    declared = Subscriptions()
    declared.add(subscribed(plain, "order.*"))

    with pytest.raises(SubscriptionConflict) as caught:
        declared.add(subscribed(other, "*.created"))

    assert caught.value.group == "g"
    assert caught.value.declared == ("*.created", f"{__name__}.other")
    assert caught.value.existing == ("order.*", f"{__name__}.plain")
    assert [item.pattern for item in declared] == ["order.*"]


def test_the_same_pattern_with_another_handler_conflicts() -> None:
    """The second one does not quietly win."""
    declared = Subscriptions()
    declared.add(subscribed(plain))

    with pytest.raises(SubscriptionConflict):
        declared.add(subscribed(other))


def test_two_lambdas_for_one_pattern_conflict() -> None:
    """They have one name, and the second one does not quietly win; one that is declared again is no conflict."""
    declared = Subscriptions()
    for _ in range(2):
        declared.add(subscribed(lambda event: None))

    with pytest.raises(SubscriptionConflict, match="write both with 'def'"):
        declared.add(subscribed(lambda event: event))

    assert [item.handler(1) for item in declared] == [None]


class Notifier:
    """A handler, and one that is a method, of which there may be several."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel

    def __call__(self, event): ...

    def notify(self, event): ...


class Channel(Enum):
    """What a handler may hold."""

    MAIL = "mail"
    TEXT = "text message"


class Private:
    """The same with an attribute that is its own business."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel

    def __call__(self, event): ...


class Slotted:
    """The same without a dictionary."""

    __slots__ = ("channel",)

    def __init__(self, channel: Any) -> None:
        self.channel = channel

    def __call__(self, event): ...


@dataclass(frozen=True)
class Compared:
    """The same with an equality of its own."""

    channel: Any

    def __call__(self, event): ...


class Text(str):
    """A text that is more than one."""

    __slots__ = ()


def told(channel, event): ...


def telling(event, channel): ...


def factory(channel: Any) -> Callable[..., Any]:
    def notify(event):
        return channel

    return notify


def wrapping(channel: Any) -> Callable[..., Any]:
    @functools.wraps(plain)
    def notify(event):
        return channel

    return notify


def by_default(channel: Any) -> Callable[..., Any]:
    def notify(event, channel=channel): ...

    return notify


def by_keyword_default(channel: Any) -> Callable[..., Any]:
    def notify(event, *, channel=channel): ...

    return notify


#: All the ways to make several handlers of one name.
MAKERS = [
    factory,
    wrapping,
    by_default,
    by_keyword_default,
    lambda channel: lambda event: channel,
    lambda channel: functools.partial(told, channel),
    lambda channel: functools.partial(telling, channel=channel),
    Notifier,
    Private,
    Slotted,
    Compared,
    lambda channel: Notifier(channel).notify,
    lambda channel: functools.partial(Notifier(channel)),
    lambda channel: factory([channel]),
    lambda channel: factory({"to": (channel,)}),
    lambda channel: factory({channel}),
    lambda channel: factory({channel: 1}),
    lambda channel: factory(Channel(channel)),
    lambda channel: factory(Notifier(channel)),
    lambda channel: factory(Compared(Notifier(channel))),
    lambda channel: factory(Text(channel)),
    lambda channel: factory(factory(channel)),
    lambda channel: [channel].append,
]


@pytest.mark.parametrize("make", MAKERS)
def test_two_handlers_of_one_name_conflict(make: Callable[[str], Callable[..., Any]]) -> None:
    """The second one does not quietly win: what they hold tells them apart."""
    declared = Subscriptions()
    first = make("mail")
    declared.add(subscribed(first))

    with pytest.raises(SubscriptionConflict, match="two handlers of one name, so give each its own group"):
        declared.add(subscribed(make("text message")))

    assert [item.handler for item in declared] == [first]


@pytest.mark.parametrize("make", MAKERS)
def test_one_handler_that_is_made_twice_is_no_conflict(make: Callable[[str], Callable[..., Any]]) -> None:
    """A setup that is run again makes new objects, which hold the same."""
    declared = Subscriptions()

    for channel in ("MAIL".lower(), "MAIL".lower()):
        declared.add(subscribed(make(channel)))

    assert len(list(declared)) == 1


class Counting:
    """Is not what it was when it was declared."""

    def __init__(self) -> None:
        self._seen, self._since, self.calls = {"one"}, time.time(), 0

    def handle(self, event: Event) -> None:
        self._seen.add(str(event))
        self.calls += 1


def test_a_handler_that_was_used_may_be_declared_again() -> None:
    """What it keeps is no difference, nor is when it was made: a setup that is run for each test goes on working."""
    declared = Subscriptions()
    first = Counting()
    declared.add(subscribed(first.handle))
    first.handle("an event")  # type: ignore[arg-type]
    second = Counting()

    declared.add(subscribed(second.handle))

    assert [item.handler for item in declared] == [second.handle]


class Unequal:
    """Cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise TypeError("no")

    __hash__ = None  # type: ignore[assignment]


def object_keys() -> dict[object, Any]:
    """What is found by objects, and sets of objects."""
    return {object(): 1, "set": {object()}}


def circular() -> list[Any]:
    """A list that holds itself."""
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "make", [threading.Lock, threading.Thread, Unequal, circular, object, object_keys, lambda: list(range(5_000))]
)
def test_values_that_show_no_difference_are_no_conflict(make: Callable[[], Any]) -> None:
    """Whoever cannot be told apart is taken for the same, as it always was."""
    declared = Subscriptions()

    for _ in range(2):
        declared.add(subscribed(factory(make())))

    assert len(list(declared)) == 1


def test_a_module_that_is_loaded_again_means_its_new_handlers() -> None:
    """Whatever was changed in it; what it made by a factory has other code then only if that was changed."""
    source = """
class Sender:
    def __init__(self, to): self.to = to
    def __call__(self, event): ...
def plain(event): return 1
def make(to):
    def inner(event): return to
    return inner
handlers = [plain, make(Sender("x")), Sender("x"), Sender("x").__call__]
"""
    declared = Subscriptions()

    for text in (source, source.replace("return 1", "return 2")):
        loaded: dict[str, Any] = {"__name__": "reloaded"}
        exec(compile(text, "reloaded.py", "exec"), loaded)
        for number, handler in enumerate(loaded["handlers"]):
            declared.add(subscribed(handler, f"order.number-{number}"))

    assert next(iter(declared)).handler(1) == 2
    assert len(list(declared)) == 4


TWICE = """
@subscribe
def handle(event): return 1

@subscribe
def handle(event): return 2
"""
WRAPPED = TWICE.replace("def handle", "@wrapped\ndef handle")
METHODS = f"class Handlers:{TWICE}".replace("\n", "\n    ")


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator, as for logging."""

    @functools.wraps(function)
    def call(event):
        return function(event)

    return call


def run_module(code: CodeType, declared: Subscriptions) -> None:
    """Run *code* as that of a module, which declares handlers."""

    def subscribe(handler: Callable[..., Any]) -> Callable[..., Any]:
        declared.add(subscribed(handler))
        return handler

    exec(code, {"__name__": "shop", "subscribe": subscribe, "wrapped": wrapped})


@pytest.mark.parametrize("text", [TWICE, WRAPPED, METHODS], ids=["plain", "wrapped", "methods"])
def test_two_functions_of_one_name_in_one_module_conflict(text: str) -> None:
    """As after copy and paste: the first one would never be called."""
    declared = Subscriptions()

    with pytest.raises(SubscriptionConflict, match="two handlers of one name, so give each its own group"):
        run_module(compile(text, "shop.py", "exec"), declared)

    assert [item.handler(None) for item in declared] == [1]


@pytest.mark.parametrize("text", [TWICE, WRAPPED, METHODS], ids=["plain", "wrapped", "methods"])
def test_a_module_that_declares_its_handlers_again_means_the_new_ones(text: str) -> None:
    """Whether it was changed, moved its function or is the same as before."""
    once = text.replace("@subscribe", "", 1)
    codes = [compile(each, "shop.py", "exec") for each in (once, once, f"#\n{once}", once.replace("2", "3"))]
    declared = Subscriptions()

    for code in (codes[0], *codes):
        run_module(code, declared)

    assert [item.handler(None) for item in declared] == [3]


def test_what_wraps_no_function_may_be_declared_again() -> None:
    """A decorator takes any callable."""
    declared = Subscriptions()

    for _ in range(2):
        declared.add(subscribed(wrapped(functools.partial(plain))))

    assert len(list(declared)) == 1


def test_declaring_a_handler_again_changes_nothing() -> None:
    """A module that is imported twice is no conflict."""
    declared = Subscriptions()

    declared.add(subscribed(plain))
    declared.add(subscribed(plain))

    assert [item.handler for item in declared] == [plain]


def test_patterns_that_share_no_event_and_other_groups_live_side_by_side() -> None:
    """Only what could claim the same event of the same group is refused."""
    bus = EventBus(Celery("app", set_as_current=False))
    bus.subscribe("order.created", group="b", handler=plain)
    bus.subscribe("order.paid", group="b", handler=other)

    @bus.subscribe("order.#", group="a")
    def handler(event): ...

    assert bus.subscriptions.groups() == ["a", "b"]
    assert [item.pattern for item in bus.subscriptions.of_group("b")] == ["order.created", "order.paid"]
    assert handler.__name__ == "handler"
