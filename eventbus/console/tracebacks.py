"""Tracebacks: what Python printed, taken apart so that the handler's own frames are read first."""

import re
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+), in (?P<name>.*)$')
_LIBRARIES = ("/site-packages/", "/dist-packages/")
_STANDARD = tuple({f"{Path(sysconfig.get_path(name))}/" for name in ("stdlib", "platstdlib")})
_OURS = f"{Path(__file__).parents[1]}/"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A step on the way to an error."""

    file: str
    line: int
    function: str
    #: The lines of code that were printed with it.
    code: str
    #: It is the handler's own code, not a library's, Python's or ours.
    is_own: bool


@dataclass(frozen=True, kw_only=True)
class Traceback:
    """A printed traceback."""

    #: Innermost first; of chained errors, those of all of them.
    own: Sequence[Frame]
    others: Sequence[Frame]
    #: As it was printed.
    text: str


def read_traceback(text: str) -> Traceback:
    """*text*, taken apart; whatever is in it, the whole of it is kept."""
    frames = list(reversed(_frames(text)))
    return Traceback(
        own=[frame for frame in frames if frame.is_own],
        others=[frame for frame in frames if not frame.is_own],
        text=text,
    )


def _frames(text: str) -> list[Frame]:
    found: list[Frame] = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        match = _FRAME.match(line)
        if match is None:
            continue
        code = []
        for following in lines[number + 1 :]:
            if not following.startswith("    "):
                break
            code.append(following[4:])
        file = match["file"]
        found.append(
            Frame(
                file=file,
                line=int(match["line"][:9]),
                function=match["name"],
                code="\n".join(code),
                is_own=_is_own(file),
            )
        )
    return found


def _is_own(file: str) -> bool:
    path = file.replace("\\", "/")
    if path.startswith(("<frozen ", _OURS)) or any(part in path for part in _LIBRARIES):
        return False
    return not path.startswith(_STANDARD)
