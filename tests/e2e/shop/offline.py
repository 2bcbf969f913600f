"""The shop with a handler that needs no database, and waits in the worker's folder to be told to go on."""

import threading
from pathlib import Path

from eventbus import Event
from tests.e2e.shop.app import app as app
from tests.e2e.shop.app import bus


@bus.subscribe("offline.asked", group="offline", max_retries=0)
def wait_outside(event: Event) -> None:
    """Note each start in a file, and return as soon as there is another."""
    with Path("started").open("a") as file:
        file.write("started\n")
    pause = threading.Event()
    while not Path("go on").exists():
        pause.wait(0.05)
