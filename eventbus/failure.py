"""Failures: what is kept of an exception that ended a handler's run.

The fingerprint groups failures that one fix will mend: exception type, message without its particulars, and where it was raised.
"""

import hashlib
import re
import traceback
from dataclasses import dataclass
from types import TracebackType

_MESSAGE_LENGTH = 4_000
_TRACEBACK_LENGTH = 40_000
#: The module that calls handlers.
_CALLER = "eventbus.lifecycle.handling"
#: What differs between two failures of one cause: quoted values, ids, numbers.
_PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\d+")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """How a run ended."""

    #: ``error``: the handler raised; ``death``: its process died.
    kind: str = "error"
    error_type: str
    message: str
    traceback: str
    fingerprint: str

    @property
    def summary(self) -> str:
        """Type and message on one line."""
        return f"{self.error_type}: {self.message}".splitlines()[0][:500] if self.message else self.error_type


def from_exception(error: BaseException) -> Failure:
    """What to keep of *error*, cut to lengths that a table can bear and cleaned of what PostgreSQL cannot store."""
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
        fingerprint=_fingerprint(error_type, message, _origin(frames)),
    )


def from_death(reason: str) -> Failure:
    """What to keep of a process that died in a handler for *reason*."""
    name = "eventbus.errors.HandlerDied"
    return Failure(
        kind="death",
        error_type=name,
        message=reason,
        traceback=f"{name}: {reason}",
        fingerprint=_fingerprint(name, reason, ""),
    )


def from_summary(summary: str) -> Failure:
    """What to keep of a failure of which only its `Failure.summary` is left."""
    error_type, _, message = summary.partition(": ")
    return Failure(
        error_type=error_type,
        message=message,
        traceback=f"{summary}\n(the process died before its traceback was recorded)",
        fingerprint=_fingerprint(error_type, message, ""),
    )


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


def _origin(frames: TracebackType | None) -> str:
    """File and function of the innermost frame."""
    found = traceback.extract_tb(frames)
    return f"{found[-1].filename.rpartition('/')[2]}:{found[-1].name}" if found else ""


def _fingerprint(error_type: str, message: str, origin: str) -> str:
    first_line = message.splitlines()[0] if message else ""
    key = "\n".join((error_type, _PARTICULARS.sub("?", first_line), origin))
    return hashlib.sha256(_storable(key).encode()).hexdigest()[:16]


def _storable(text: str) -> str:
    return text.replace("\x00", "\\0").encode("utf-8", "backslashreplace").decode()
