"""The server of `eventbus console`: uvicorn, which does not wait for what would not end."""

import socket
from collections.abc import Callable
from typing import Any

import uvicorn


class Server(uvicorn.Server):
    """Serves an app until it is told to stop."""

    def __init__(self, config: uvicorn.Config, *, stopping: Callable[[], Any]) -> None:
        """Make a server that does not run yet; it calls *stopping* when it has been told to stop, before it waits for answers."""
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what does not end by itself, then the rest in order."""
        self._stopping()
        await super().shutdown(sockets)
