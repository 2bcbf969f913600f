"""python -m eventbus.demo [FILE]: exit code 0 if all held, 1 if not, 2 for a file that cannot be used, 130 when interrupted."""

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import NoReturn

from eventbus.demo.event_file import UnusableFile
from eventbus.demo.proof import StoryStopped
from eventbus.errors import EventBusError

HELD, REFUTED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str]) -> int:
    """Perform, and return the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt_once)
    try:
        file = _parse(arguments)
        # Not imported above: that takes so long that a Ctrl-C may come meanwhile.
        return HELD if import_module("eventbus.demo.performance").perform(file) else REFUTED
    except KeyboardInterrupt:
        return _end("interrupted.", INTERRUPTED)
    except UnusableFile as error:
        return _end(str(error), BAD_INPUT)
    except (EventBusError, StoryStopped) as error:
        return _end(str(error), REFUTED)


def _parse(arguments: Sequence[str]) -> Path | None:
    parser = argparse.ArgumentParser(prog="python -m eventbus.demo", description="Watch events flow, and what holds.")
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help='newline-delimited JSON, each line {"type": …, "source": …, "data": …}; published in the last step',
    )
    file: Path | None = parser.parse_args(arguments).file
    return file


def _interrupt_once(_number: int, _frame: FrameType | None) -> NoReturn:
    """Begin to clean up; a second Ctrl-C must not break that off."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end(sentence: str, code: int) -> int:
    print(f"eventbus.demo: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
