"""Failures: what is kept of an exception that ended a handler's run."""

import traceback
from dataclasses import dataclass
from types import TracebackType

from eventbus.fingerprint import Fingerprint, read_frames, take_fingerprint

_MESSAGE_LENGTH = 4_000
_TRACEBACK_LENGTH = 40_000
_DIED = "eventbus.errors.HandlerDied"
#: The module that calls handlers.
_CALLER = "eventbus.lifecycle.handling"


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
    kind = type(error)
    error_type = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    error_type = _storable(error_type)
    message = _storable(_message(error))[:_MESSAGE_LENGTH]
    frames = _handler_frames(error)
    text = _storable("".join(traceback.TracebackException(kind, error, frames).format()))
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
    name = _DIED
    return Failure(
        kind="death",
        error_type=name,
        message=reason,
        traceback=f"{name}: {reason}",
        cause=take_fingerprint(name, reason, place=group),
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


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a __str__ of the handler's that fails must not hide how the run ended
        return "(its message could not be read)"


def _handler_frames(error: BaseException) -> TracebackType | None:
    """The traceback of *error* from the handler inward: the frames of Celery and the bus around it tell nobody anything."""
    frames = error.__traceback__
    found = None
    while frames is not None:
        if frames.tb_frame.f_globals.get("__name__") == _CALLER:
            found = frames.tb_next
        frames = frames.tb_next
    return found or error.__traceback__


def _files(frames: TracebackType | None) -> list[tuple[str, str]]:
    """File and function of each of *frames*; what has never been raised has none."""
    codes = [frame.f_code for frame, _ in traceback.walk_tb(frames)]
    return [(_storable(code.co_filename), _storable(code.co_name)) for code in codes]


def _storable(text: str) -> str:
    return text.replace("\x00", "\\0").encode("utf-8", "backslashreplace").decode()
