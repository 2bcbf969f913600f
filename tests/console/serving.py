"""An app on a port of this machine, for browsers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from eventbus.console.server import Server
from eventbus.embedded.server import free_port
from tests.support import wait_until


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """*app* on a port of this machine; its address."""
    port = free_port()
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1, proxy_headers=False
    )
    server = Server(config, stopping=app.state.end_streams)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started, message="the console to be served")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
