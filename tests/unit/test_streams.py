"""Standard error of a command: each thing is said once, and whole, however it is interrupted."""

import os
import subprocess
import sys
import threading

from tests.support.workers import ROOT

#: Ctrl-C at the worst moment: what is said has reached the system, and nobody has been told so yet.
INTERRUPTED = """
import sys
from eventbus.cli.streams import prepare_streams

prepare_streams()

def interrupt(frame, event, called):
    if event == "c_return" and called.__name__ == "write" and frame.f_code.co_name == "write":
        sys.setprofile(None)
        raise KeyboardInterrupt

sys.setprofile(interrupt)
try:
    print("lost", file=sys.stderr)
except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
"""
#: More than a pipe holds, with signals for whose handlers a write is cut short.
LONG = """
import signal, sys
from eventbus.cli.streams import prepare_streams

prepare_streams()
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
print("x" * 300_000, file=sys.stderr)
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_what_is_interrupted_after_it_was_said_is_not_said_again() -> None:
    """A program that reads standard error would take it for a second loss."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stderr.splitlines() == ["lost", "interrupted"]


def test_what_is_written_in_parts_is_whole() -> None:
    """A pipe takes what it has room for; signals meanwhile end the call that waits for the rest."""
    read, write = os.pipe()
    said = bytearray()

    def listen() -> None:
        started.wait()
        while part := os.read(read, 65_536):
            said.extend(part)

    started = threading.Event()
    listener = threading.Thread(target=listen)
    listener.start()
    with subprocess.Popen([sys.executable, "-c", LONG], cwd=ROOT, stderr=write) as child:
        os.close(write)
        threading.Timer(0.5, started.set).start()
        assert child.wait(timeout=30) == 0
    listener.join()
    os.close(read)

    assert said.decode() == "x" * 300_000 + "\n"
