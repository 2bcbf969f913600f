"""Failures: what is kept of an exception that ended a handler's run.

An exception is the handler's own: whatever it is asked may fail in turn, and must not hide that, and how, the run ended.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from celery.exceptions import WorkerShutdown, WorkerTerminate

from eventbus.errors import HandlerError
from eventbus.fingerprint import Fingerprint, read_frames, take_fingerprint

_MESSAGE_LENGTH = 4_000
_TRACEBACK_LENGTH = 40_000
_DIED = "eventbus.errors.HandlerDied"
#: The module that calls handlers.
_CALLER = "eventbus.lifecycle.handling"
#: billiard ends a child with this code at a hard time limit: the worker's business, not the handler's.
_POOL_EXIT = -241
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a run ended."""

    #: ``error``: the handler raised; ``death``: its process died.
    kind: str = "error"
    error_type: str
    message: str
    traceback: str
    #: Equal for failures that one fix will mend.
    cause: Fingerprint

    @property
    def fingerprint(self) -> str:
        """The short form of the cause."""
        return self.cause.value

    @property
    def summary(self) -> str:
        """Type and message on one line."""
        return f"{self.error_type}: {self.message}".splitlines()[0][:500] if self.message else self.error_type


def from_exception(error: BaseException, *, group: str = "") -> Failure:
    """What to keep of *error* in *group*, cut to lengths that a table can bear and cleaned of what PostgreSQL cannot store."""
    error_type = _storable(read_type(error))
    message = _storable(read_message(error))[:_MESSAGE_LENGTH]
    frames = _handler_frames(error)
    text = _storable(_traceback(error, frames) or _bare_traceback(frames, f"{error_type}: {message}"))
    if len(text) > _TRACEBACK_LENGTH:
        half = _TRACEBACK_LENGTH // 2
        text = f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
    return Failure(
        error_type=error_type,
        message=message,
        traceback=text,
        cause=take_fingerprint(error_type, message, frames=_files(frames), place=group),
    )


def from_death(reason: str, *, group: str = "") -> Failure:
    """What to keep of a process that died in a handler of *group* for *reason*."""
    return Failure(
        kind="death",
        error_type=_DIED,
        message=reason,
        traceback=f"{_DIED}: {reason}",
        cause=take_fingerprint(_DIED, reason, place=group),
    )


def from_summary(summary: str, *, group: str = "") -> Failure:
    """What to keep of a failure in *group* of which only its `Failure.summary` is left."""
    error_type, _, message = summary.partition(": ")
    return Failure(
        error_type=error_type,
        message=message,
        traceback=f"{summary}\n(the process died before its traceback was recorded)",
        cause=take_fingerprint(error_type, message, place=group),
    )


def find_cause(error_type: str, message: str, traceback: str, *, group: str) -> Fingerprint:
    """The cause of a failure in *group* that was kept by code which took fingerprints in another way."""
    return take_fingerprint(error_type, message, frames=read_frames(traceback), place=group)


def ends_process(error: BaseException) -> bool:
    """Whether *error* is how the pool or the worker ends this process: what is held is then somebody else's to settle."""
    if issubclass(type(error), WorkerShutdown | WorkerTerminate):
        return True
    # Nothing but these very types is asked: a class of the handler's own answers as it likes.
    return type(error) is SystemExit and type(error.code) is int and error.code == _POOL_EXIT


def read_type(error: BaseException) -> str:
    """The type of *error*: by its bare name if it is built in, else with where it is defined."""
    kind = type(error)
    return _read(
        lambda: kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}",
        instead="(its type could not be read)",
    )


def read_message(error: BaseException) -> str:
    """What *error* says."""
    return _read(lambda: str.__str__(str(error)), instead="(its message could not be read)")


def read_traceback(error: BaseException) -> TracebackType | None:
    """Where *error* was raised, past any attribute of that name that its class has."""
    found: TracebackType | None = vars(BaseException)["__traceback__"].__get__(error)
    return found


def showable(error: BaseException) -> BaseException:
    """*error*, if it can be shown by whoever shows exceptions as Python does, as Celery; else one that says what is kept of it."""
    if _traceback(error, read_traceback(error)) and _read(lambda: repr(error), instead=""):
        return error
    return HandlerError(f"{from_exception(error).summary} (it cannot be shown as it is).")


def _read(read: Callable[[], Result], *, instead: Result) -> Result:
    try:
        return read()
    except BaseException as error:
        if ends_process(error):
            raise
        return instead


def _traceback(error: BaseException, frames: TracebackType | None) -> str:
    """*error* as Python shows it, with those that led to it; empty if it cannot be."""
    return _read(lambda: "".join(traceback.TracebackException(type(error), error, frames).format()), instead="")


def _bare_traceback(frames: TracebackType | None, says: str) -> str:
    return "".join(["Traceback (most recent call last):\n", *traceback.format_tb(frames), says, "\n"])


def _handler_frames(error: BaseException) -> TracebackType | None:
    """The traceback of *error* from the handler inward: the frames of Celery and the bus around it tell nobody anything."""
    raised = frames = read_traceback(error)
    found = None
    while frames is not None:
        if frames.tb_frame.f_globals.get("__name__") == _CALLER:
            found = frames.tb_next
        frames = frames.tb_next
    return found or raised


def _files(frames: TracebackType | None) -> list[tuple[str, str]]:
    """File and function of each of *frames*; what has never been raised has none."""
    codes = [frame.f_code for frame, _ in traceback.walk_tb(frames)]
    return [(_storable(code.co_filename), _storable(code.co_name)) for code in codes]


def _storable(text: str) -> str:
    return text.replace("\x00", "\\0").encode("utf-8", "backslashreplace").decode()
