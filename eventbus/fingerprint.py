"""Fingerprints: failures that one fix will mend have the same one.

    exception type · message without its particulars · the handler's own innermost frames ─▶ 16 hexadecimal digits

What differs between two failures of one cause is left out: numbers, ids and quoted values of the message, line numbers, the folders
in which code lies, and the frames of libraries. So a fingerprint outlives a deploy, and a new version of a library.
"""

import hashlib
import re
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: How many of the handler's own frames tell two causes apart.
_FRAMES = 3
_GIST_LENGTH = 500
_QUOTED = re.compile(r"(?<!\w)'[^']*'|\"[^\"]*\"|`[^`]*`")
#: A word with a digit in it, or several that a time or an address joins; hexadecimal words without one are rare enough.
_NUMBERED = re.compile(r"\w*\d\w*(?:[.,:+/-]+\w*\d\w*)*")
_UUID = re.compile(r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b")
_HEX = re.compile(r"\b[0-9a-fA-F]{12,}\b")
#: Of a list it does not matter how long it is.
_ROW = re.compile(r"\?(?:\s*[,:;]?\s*\?)+")
_FRAME = re.compile(r'^  File "(.*)", line \d+, in (.*)$', re.MULTILINE)
_SECTION = "Traceback (most recent call last):\n"
_TIMEOUT = "eventbus.errors.HandlerTimeout"
_LIBRARIES = ("site-packages", "dist-packages")
_STANDARD = tuple(dict.fromkeys(f"{Path(sysconfig.get_path(name))}/" for name in ("stdlib", "platstdlib")))
_OURS = f"{Path(__file__).parent}/"
_TOOLS = frozenset(("eventbus", "celery", "kombu", "billiard", "vine"))


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What failures of one cause share."""

    #: 16 hexadecimal digits.
    value: str
    #: The first line of the message, with ``?`` for each of its particulars.
    gist: str
    #: Where it happened, innermost first, as ``orders.py:reserve < orders.py:on_created``; empty if nobody knows.
    place: str


def take_fingerprint(
    error_type: str, message: str, *, frames: Sequence[tuple[str, str]] = (), place: str = ""
) -> Fingerprint:
    """The fingerprint of a failure.

    Args:
        frames: File and function of each frame, from the handler inward.
        place: Where it happened, if there are no frames to tell.
    """
    gist = _gist(message)
    own = _own(frames)
    if error_type == _TIMEOUT:
        # The limit strikes wherever the handler happens to be.
        own = own[:1]
    place = " < ".join(reversed(own[-_FRAMES:])) or place
    digest = hashlib.sha256(f"{error_type}\n{gist}\n{place}".encode()).hexdigest()
    return Fingerprint(value=digest[:16], gist=gist, place=place)


def read_frames(traceback: str) -> list[tuple[str, str]]:
    """File and function of each frame of the exception that a printed *traceback* ends with, outermost first."""
    return _FRAME.findall(traceback.rpartition(_SECTION)[2])


def _gist(message: str) -> str:
    first_line = message.splitlines()[0] if message else ""
    text = _QUOTED.sub("?", first_line[: 4 * _GIST_LENGTH])
    for particulars in (_UUID, _NUMBERED, _HEX):
        text = particulars.sub("?", text)
    return _ROW.sub("?", text)[:_GIST_LENGTH]


def _own(frames: Sequence[tuple[str, str]]) -> list[str]:
    """The frames of the handler's own code, without those that call themselves again."""
    home = _distribution(frames[0][0]) if frames else None
    own = [f"{file.replace(chr(92), '/').rpartition('/')[2]}:{name}" for file, name in frames if _is_own(file, home)]
    return [frame for frame, before in zip(own, [None, *own], strict=False) if frame != before]


def _is_own(file: str, home: str | None) -> bool:
    if file.startswith(("<frozen ", _OURS)):
        return False
    distribution = _distribution(file)
    if distribution is not None:
        # Code that is deployed as a package lies among the libraries: its own is what lies beside the handler.
        return distribution == home and distribution not in _TOOLS
    return not file.startswith(_STANDARD)


def _distribution(file: str) -> str | None:
    """The top package or module of a *file* that is installed; None for other files."""
    parts = file.replace("\\", "/").split("/")
    for number in range(len(parts) - 2, -1, -1):
        if parts[number] in _LIBRARIES:
            return parts[number + 1]
    return None
