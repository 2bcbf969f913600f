"""Subscriptions: which events a group wants, who handles them, and how.

A pattern is never matched against types one by one: `candidates` lists the few patterns that could claim a type, so that
finding a type's groups is an index lookup however many subscriptions there are.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from eventbus.errors import InvalidGroup, InvalidPattern, InvalidSubscription, SubscriptionConflict
from eventbus.event import MAX_TYPE_LENGTH, MAX_WORDS
from eventbus.retry import RetryPolicy, check_duration
from eventbus.sameness import are_written_apart, signature

Handler = Callable[..., Any]
#: What a handler may ask for by name, beside the event.
OFFERED = ("delivery", "session")
_GROUP = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_WORD = re.compile(r"[A-Za-z0-9_-]+|\*")


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """A group's wish for the events of a pattern."""

    pattern: str
    group: str
    handler: Handler
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    #: A run that takes longer counts as a failed attempt.
    timeout: timedelta = timedelta(minutes=15)
    #: ``run`` or ``skip``: what a replay does here.
    replay: str = "run"
    #: What the handler reads of an event, as JSON; None if it does not say.
    reads: Mapping[str, Any] | None = None
    #: The schema that loads what it reads; None if there is none.
    reads_schema: Any = None
    #: The version it is given events in; None for the one they were published in.
    version: int | None = None
    #: The subset of `OFFERED` that the handler takes.
    takes: frozenset[str] = frozenset()

    @property
    def handler_name(self) -> str:
        return _name(self.handler)

    def policy(self) -> dict[str, Any]:
        """Everything but pattern, group and handler, as JSON values."""
        return {**self.retry.as_json(), "timeout_seconds": self.timeout.total_seconds(), "replay": self.replay}


class Subscriptions:
    """The subscriptions that this process's code has declared."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str], Subscription] = {}
        #: Of the handlers, as they were when they were declared.
        self._signatures: dict[tuple[str, str], object] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(list(self._by_key.values()))

    def add(self, subscription: Subscription) -> None:
        """Declare *subscription*; declaring the same handler again (a module imported twice) takes its place.

        Raises:
            SubscriptionConflict: Another handler of the group could claim the same event.
        """
        key, now = (subscription.group, subscription.pattern), signature(subscription.handler)
        for other in self.of_group(subscription.group):
            same = (other.pattern, other.handler_name) == (subscription.pattern, subscription.handler_name)
            if same and self._are_two(other, subscription, now):
                raise _conflict(subscription, other, _apart(other.handler, subscription.handler))
            if not same and overlap(other.pattern, subscription.pattern):
                way_out = "give one of them its own group, or use one handler for both patterns"
                raise _conflict(subscription, other, way_out)
        self._by_key[key], self._signatures[key] = subscription, now

    def _are_two(self, other: Subscription, declared: Subscription, now: object) -> bool:
        """Whether it shows that two subscriptions of one name and pattern have two handlers."""
        before = self._signatures[other.group, other.pattern]
        differ = None not in (now, before) and now != before
        return differ or are_written_apart(other.handler, declared.handler)

    def of_group(self, group: str) -> list[Subscription]:
        return [item for item in self._by_key.values() if item.group == group]

    def groups(self) -> list[str]:
        """The groups with a subscription here, sorted."""
        return sorted({group for group, _ in self._by_key})


def declare(
    pattern: str,
    *,
    group: str,
    handler: Handler,
    timeout: timedelta,
    replay: str,
    retry: RetryPolicy,
    reads: Mapping[str, Any] | None = None,
    reads_schema: Any = None,
    version: int | None = None,
) -> Subscription:
    """A checked subscription.

    Raises:
        InvalidPattern, InvalidGroup, InvalidSubscription: What was declared cannot be used.
    """
    if replay not in ("run", "skip"):
        raise InvalidSubscription(f"replay={replay!r} must be 'run' or 'skip'.")
    _check_version(pattern, version)
    return Subscription(
        pattern=check_pattern(pattern),
        group=check_group(group),
        handler=handler,
        retry=retry,
        timeout=check_duration("timeout", timeout),
        replay=replay,
        reads=reads,
        reads_schema=reads_schema,
        version=version,
        takes=_taken_by(handler),
    )


def _check_version(pattern: str, version: int | None) -> None:
    if version is None:
        return
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version < 1 << 31:
        raise InvalidSubscription(f"version={version!r} must be a whole number from 1.")
    if {"*", "#"} & set(str(pattern).split(".")):
        raise InvalidSubscription(
            f"version={version} for {pattern!r}: versions are those of one event type, so name it without '*' and '#'."
        )


def check_group(value: object) -> str:
    """*value*, if it is a group name.

    Raises:
        InvalidGroup: It is not.
    """
    if not isinstance(value, str) or not _GROUP.fullmatch(value):
        raise InvalidGroup(value)
    return value


def check_pattern(value: object) -> str:
    """*value*, if it is a pattern: an event type in which ``*`` stands for a word and a last ``#`` for any number of them.

    Raises:
        InvalidPattern: It is not.
    """
    if not isinstance(value, str) or not value:
        raise InvalidPattern(value, "it is empty" if value == "" else "it is not a text")
    words = value.split(".")
    body = words[:-1] if words[-1] == "#" else words
    if len(value) > MAX_TYPE_LENGTH or len(words) > MAX_WORDS:
        raise InvalidPattern(value, f"it has more than {MAX_WORDS} words or {MAX_TYPE_LENGTH} characters")
    if "#" in body:
        raise InvalidPattern(value, "'#' may only be its last word")
    for word in body:
        if not _WORD.fullmatch(word):
            raise InvalidPattern(value, f"{word!r} is not a word" if word else "a word is empty")
    return value


def overlap(one: str, other: str) -> bool:
    """Whether some event type matches both patterns."""
    return _overlap(one.split("."), other.split("."))


def matches(pattern: str, type: str) -> bool:
    """Whether events of *type* match *pattern*."""
    return overlap(pattern, type)


@functools.lru_cache(maxsize=4096)
def candidates(type: str) -> tuple[str, ...]:
    """Every pattern that matches *type*: about three times 2 to the power of its number of words."""
    words = type.split(".")
    prefixes: list[list[str]] = [[]]
    found = ["#"]
    for index, word in enumerate(words):
        prefixes = [[*prefix, choice] for prefix in prefixes for choice in (word, "*")]
        # A pattern has at most MAX_WORDS words, so a type of that length takes no '#' behind its last one.
        if index + 1 < MAX_WORDS:
            found.extend(".".join([*prefix, "#"]) for prefix in prefixes)
    return (*(".".join(prefix) for prefix in prefixes), *found)


def _overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    if list(one) == ["#"] or list(other) == ["#"]:
        return True
    if not one or not other:
        return not one and not other
    same = one[0] == other[0] or "*" in (one[0], other[0])
    return same and _overlap(one[1:], other[1:])


def _conflict(declared: Subscription, existing: Subscription, way_out: str) -> SubscriptionConflict:
    return SubscriptionConflict(
        declared.group,
        (declared.pattern, declared.handler_name),
        (existing.pattern, existing.handler_name),
        way_out,
    )


def _apart(one: Handler, other: Handler) -> str:
    """How to tell apart two handlers that have one name."""
    codes = [getattr(handler, "__code__", None) for handler in (one, other)]
    if codes[0] != codes[1] and all(code is not None and code.co_name == "<lambda>" for code in codes):
        return "a lambda has no name to be told by, so write both with 'def'"
    return "they are two handlers of one name, so give each its own group, or call both in one handler"


def _parameters(handler: Handler) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(handler).parameters.values())
    except ValueError as error:
        raise InvalidSubscription(
            f"{_name(handler)} does not say what it takes: write a handler, with 'def', that calls it."
        ) from error


def _name(handler: Handler) -> str:
    """Where *handler* is defined, as ``module.name``."""
    target = handler.func if isinstance(handler, functools.partial) else handler
    if not hasattr(target, "__qualname__"):
        target = type(target)
    return f"{target.__module__}.{target.__qualname__}"


def _taken_by(handler: Handler) -> frozenset[str]:
    """The names in `OFFERED` that *handler* takes, after making sure that it can be called with an event."""
    if not callable(handler):
        raise InvalidSubscription(f"{handler!r} is not callable: a handler is a function that takes an event.")
    _check_kind(handler)
    parameters = _parameters(handler)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in (*positional, inspect.Parameter.VAR_POSITIONAL):
        raise InvalidSubscription(f"{_name(handler)} takes no positional argument: a handler's first one is the event.")
    if parameters[0].name in OFFERED:
        raise InvalidSubscription(
            f"{_name(handler)} takes {parameters[0].name!r} first: a handler's first argument is the event, whatever its name."
        )
    for parameter in parameters[1:]:
        optional = parameter.default is not parameter.empty or parameter.kind in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        )
        if not optional and parameter.name not in OFFERED:
            raise InvalidSubscription(
                f"{_name(handler)} asks for {parameter.name!r}: a handler takes the event and, by name, "
                f"{' and '.join(OFFERED)}."
            )
        if parameter.name in OFFERED and parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise InvalidSubscription(
                f"{_name(handler)} takes {parameter.name!r} by position: a handler is given it by name, so write no '/' behind it."
            )
    return frozenset(
        item.name for item in parameters[1:] if item.name in OFFERED and item.kind is not item.VAR_POSITIONAL
    )


def _check_kind(handler: Handler) -> None:
    """Make sure that calling *handler* runs its code: a generator would wait to be iterated, a class is made for something else."""
    target = handler.func if isinstance(handler, functools.partial) else handler
    if isinstance(target, type):
        raise InvalidSubscription(
            f"{_name(handler)} is a class: a handler is a function, or an object that can be called, such as an instance of it."
        )
    for function in (target, type(target).__call__):
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise InvalidSubscription(
                f"{_name(handler)} is a generator, whose code would never run: a handler has no 'yield'."
            )
