"""Streams: what a command reads and writes, fit for use however it was started."""

import codecs
import errno
import io
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO, cast

_AS_JSON = "eventbus.json"
#: What a file answers that has no room for more, or is broken.
_NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class _Lossy(io.FileIO):
    """A file that takes all it is given, and loses what cannot be written.

    It needs no buffer, which would write again what was written when Ctrl-C came.
    """

    def write(self, data: Any) -> int:
        left = memoryview(data)
        try:
            while written := super().write(left):
                left = left[written:]
        except OSError:
            pass
        return len(data)


def prepare_streams() -> None:
    """Make a closed stream an empty one, lest a connection take its number; write as an escape what an encoding has not.

    Errors that cannot be written are lost, but the exit code is told all the same.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - open as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error(_AS_JSON, _escape)
        sys.stdout.reconfigure(errors=_AS_JSON)
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        lossy = _Lossy(sys.stderr.fileno(), "w", closefd=False)
        sys.stderr = io.TextIOWrapper(
            cast(BinaryIO, lossy), encoding=sys.stderr.encoding, errors=sys.stderr.errors, line_buffering=True
        )


def _escape(error: UnicodeError) -> tuple[str, int]:
    """What cannot be encoded as JSON escapes it, in UTF-16: what prints JSON goes on printing it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4)), error.end


def is_not_written(error: OSError) -> bool:
    """Whether *error* says that there is no room for what is written."""
    return error.errno in _NOT_WRITTEN


def discard_output() -> None:
    """Send to nowhere what is still buffered: it cannot be written, and Python would complain about that at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
