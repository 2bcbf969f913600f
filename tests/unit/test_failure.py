"""Failures: what is kept of an exception, whatever it is."""

import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.failure import Failure, from_death, from_exception, showable


class Unreadable(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class NoText(Exception):
    """Its text is none."""

    def __str__(self) -> str:
        return None  # type: ignore[return-value]


class Panic(BaseException):
    """What is no ordinary exception."""


class Panicking(Exception):
    """Its text cannot be had, and whoever asks for it is struck by more than an exception."""

    def __str__(self) -> str:
        raise Panic


class Closed(Exception):
    """Nothing of it can be had."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Unknown(type):
    """The type of types of which nothing can be had."""

    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(name)


class Nameless(Exception, metaclass=Unknown):
    """Its type cannot be had."""


class Misshown(Exception):
    """Strikes whoever looks at it."""

    def __repr__(self) -> str:
        raise Panic


class Annotated(Exception):
    """Its notes cannot be had."""

    @property
    def __notes__(self) -> list[str]:
        raise RuntimeError("no notes")


#: A text where the formatting of tracebacks expects a number.
BROKEN = SyntaxError("bad", ("file", "x", "text", "y"))


def led_to_by(cause: BaseException) -> BaseException:
    """An exception of which nothing is odd but its *cause*."""
    error = ValueError("bad")
    error.__cause__ = cause
    return error


class Ending(Exception):
    """Its process ends while its text is asked for."""

    def __str__(self) -> str:
        raise SystemExit(-241)


def caught(error: BaseException) -> BaseException:
    """*error* with a traceback."""
    try:
        raise error
    except BaseException as raised:
        return raised


def storable(failure: Failure) -> bool:
    """Whether PostgreSQL can keep it."""
    texts = (failure.error_type, failure.message, failure.traceback, failure.summary, failure.fingerprint)
    return all("\x00" not in text and text.encode() is not None for text in texts)


def test_type_message_and_traceback_are_kept() -> None:
    """Builtin types go by their bare name, others by where they are defined."""
    builtin, own = from_exception(caught(ValueError("bad"))), from_exception(caught(Unreadable()))

    assert (builtin.kind, builtin.error_type, builtin.message) == ("error", "ValueError", "bad")
    assert builtin.summary == "ValueError: bad"
    assert "raise error" in builtin.traceback
    assert own.error_type == f"{__name__}.Unreadable"


@given(st.text(st.characters(), max_size=50))
def test_any_text_of_an_exception_can_be_stored(text: str) -> None:
    """NUL characters and lone surrogates must not keep a failure from being recorded."""
    failure = from_exception(caught(ValueError(text)))

    assert storable(failure)
    assert "\n" not in failure.summary


@pytest.mark.parametrize(
    ("error", "summary"),
    [
        (BROKEN, "SyntaxError: bad (file)"),
        (led_to_by(BROKEN), "ValueError: bad"),
        (led_to_by(Closed()), "ValueError: bad"),
        (Closed("bad"), f"{__name__}.Closed: bad"),
        (Nameless("bad"), "(its type could not be read): bad"),
        (Annotated("bad"), f"{__name__}.Annotated: bad"),
        (Misshown("bad"), f"{__name__}.Misshown: bad"),
        (Panicking(), f"{__name__}.Panicking: (its message could not be read)"),
    ],
    ids=["broken", "led to by broken", "led to by closed", "closed", "nameless", "annotated", "misshown", "panicking"],
)
def test_an_exception_that_cannot_be_formatted_is_a_failure_all_the_same(error: Exception, summary: str) -> None:
    """Where it was raised, and what can be read, is kept; whoever formats exceptions is given one that can be."""
    failure = from_exception(caught(error))

    assert failure.summary == summary
    assert failure.traceback.startswith("Traceback (most recent call last)")
    assert "in caught" in failure.traceback
    assert storable(failure)
    assert summary.partition(":")[0] in "".join(traceback.format_exception(showable(error)))
    assert repr(showable(error))


def test_an_ordinary_exception_is_shown_as_it_is() -> None:
    """Celery is not told less than the handler said."""
    error = caught(ValueError("bad"))

    assert showable(error) is error


def test_the_end_of_the_process_is_not_taken_for_an_odd_exception() -> None:
    """The pool's own exit passes, whenever it comes."""
    with pytest.raises(SystemExit):
        from_exception(caught(Ending()))


@pytest.mark.parametrize("error", [Unreadable(), NoText()])
def test_an_exception_whose_text_fails_is_a_failure_all_the_same(error: Exception) -> None:
    """That the handler failed is never hidden."""
    failure = from_exception(caught(error))

    assert failure.message == "(its message could not be read)"
    assert storable(failure)


def test_the_type_of_an_exception_is_made_storable_too() -> None:
    """Even a name that PostgreSQL refuses is recorded."""
    odd = type("Odd", (Exception,), {"__qualname__": "Odd\x00\ud800", "__module__": "somewhere"})

    failure = from_exception(caught(odd("x")))

    assert failure.error_type == r"somewhere.Odd\0\ud800"
    assert storable(failure)


def test_a_file_whose_name_is_no_unicode_is_a_place_like_any_other() -> None:
    """The fingerprint can be taken wherever the error was raised."""
    namespace: dict[str, object] = {}
    exec(compile("def fail():\n    raise ValueError('x')", "strange-\udcff.py", "exec"), namespace)

    with pytest.raises(ValueError, match="x") as raised:
        namespace["fail"]()  # type: ignore[operator]

    assert storable(from_exception(raised.value))


def test_huge_messages_are_cut_but_keep_both_ends_of_the_traceback() -> None:
    """A table can bear it, and where it began and what it said is still there."""
    failure = from_exception(caught(ValueError("x" * 1_000_000 + "END")))

    assert len(failure.message) == 4_000
    assert len(failure.traceback) < 40_100
    assert failure.traceback.startswith("Traceback")
    assert "characters left out" in failure.traceback
    assert failure.traceback.rstrip().endswith("END")
    assert len(failure.summary) == 500


def test_an_exception_without_text_is_summed_up_by_its_type() -> None:
    """No dangling colon."""
    assert from_exception(caught(KeyboardInterrupt())).summary == "KeyboardInterrupt"


def test_an_exception_that_was_never_raised_has_no_place() -> None:
    """It is recorded like any other."""
    assert from_exception(ValueError("x")).traceback == "ValueError: x\n"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("order 17 not found", "order 4711 not found"),
        ("no such key 'a'", "no such key 'b'"),
        ('user "a" is gone', 'user "b" is gone'),
        ("0198c2a1-aaaa-7000-8000-000000000001 failed", "0198c2a1-bbbb-7000-9000-0000000000ff failed"),
        ("<object at 0x7f01>", "<object at 0x7fff>"),
        ("first line\nsecond", "first line\nother"),
    ],
)
def test_failures_of_one_cause_share_a_fingerprint(one: str, other: str) -> None:
    """What differs only in its particulars is mended by one fix."""
    assert from_exception(caught(ValueError(one))).fingerprint == from_exception(caught(ValueError(other))).fingerprint


def test_failures_of_other_type_text_or_place_have_another_fingerprint() -> None:
    """What needs its own fix is not hidden among others."""

    def elsewhere() -> None:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad") as raised:
        elsewhere()
    found = [caught(ValueError("bad")), caught(KeyError("bad")), caught(ValueError("worse")), raised.value]

    assert len({from_exception(error).fingerprint for error in found}) == 4


def test_a_death_is_a_failure_of_its_own_kind() -> None:
    """Deaths are counted apart from attempts."""
    failure = from_death("the worker died")

    assert (failure.kind, failure.error_type) == ("death", "eventbus.errors.HandlerDied")
    assert failure.summary == "eventbus.errors.HandlerDied: the worker died"
