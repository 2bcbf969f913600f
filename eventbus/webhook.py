"""Webhooks: one signed POST, as https://www.standardwebhooks.com describes it, so that receivers need no code of ours.

webhook-id          the same for each try of one message
webhook-timestamp   seconds since 1970, when it was tried
webhook-signature   v1,<base64 of HMAC-SHA256 over "id.timestamp.body">, if there is a secret
"""

import base64
import hashlib
import hmac
import http.client
import io
import re
import socket
import time
import urllib.request
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from eventbus.settings import KEY_PREFIX

#: A time that a receiver may ask for; a date is another form of it, and is not read.
_SECONDS = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The receiver did not take it, or could not be asked."""

    #: Half a sentence; names neither the URL nor a secret.
    reason: str
    #: How long the receiver wants to be left alone.
    retry_after_seconds: int = 0


def post(url: str, body: bytes, *, id: str, secret: str | None, timeout_seconds: float) -> Refused | None:
    """POST *body*, which is JSON, to *url*; why it was not taken, or None if it was.

    Args:
        url: ``http`` or ``https``.
        timeout_seconds: For each step: the connection to each address, its encryption, the request, and the whole answer.
    """
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "eventbus",
        "webhook-id": id,
        "webhook-timestamp": timestamp,
    }
    if secret is not None:
        headers["webhook-signature"] = sign(body, id=id, timestamp=timestamp, secret=secret)
    try:
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - settings allow no other schemes
        with _opener().open(request, timeout=timeout_seconds) as answer:
            status, retry_after = int(answer.status), answer.headers.get("Retry-After", "")
    except OSError as error:
        cause = getattr(error, "reason", error)
        return Refused(reason=f"it could not be asked ({type(cause).__name__}: {cause})")
    except (http.client.HTTPException, ValueError) as error:
        # Its text may hold the URL, which may be a secret.
        return Refused(reason=f"it answered no HTTP, or its URL is none ({type(error).__name__})")
    if 200 <= status < 300:
        return None
    seconds = int(retry_after) if _SECONDS.fullmatch(retry_after) else 0
    return Refused(reason=f"it answered {status}", retry_after_seconds=seconds)


def sign(body: bytes, *, id: str, timestamp: str, secret: str) -> str:
    """The signature of a message: what ``webhook-signature`` holds."""
    digest = hmac.new(_key(secret), f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str) -> bytes:
    """The bytes of a secret: after ``whsec_`` it is base64, else it is taken as it is."""
    if secret.startswith(KEY_PREFIX):
        return base64.b64decode(secret.removeprefix(KEY_PREFIX))
    return secret.encode()


class _Timely(io.RawIOBase):
    """What *sock* receives while its time limit lasts: http.client waits so long for each byte anew."""

    def __init__(self, received: io.RawIOBase, sock: socket.socket) -> None:
        self._received = received
        self._sock = sock
        self._ends_seconds = time.monotonic() + (sock.gettimeout() or 0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(max(self._ends_seconds - time.monotonic(), 0.001))
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


class _TimelyAnswer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_Timely(self.fp.detach(), sock))


class _Requests(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Of both schemes."""

    def do_open(self, http_class: Any, req: Any, **options: Any) -> Any:
        timely: Any = type("Timely", (http_class,), {"response_class": _TimelyAnswer})
        return super().do_open(timely, req, **options)


class _Answers(urllib.request.BaseHandler):
    """Takes every status for an answer, and follows no redirection: that would turn the POST into a GET."""

    def http_response(self, _request: Any, response: Any) -> Any:
        return response

    https_response = http_response


@lru_cache(maxsize=1)
def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler(), _Requests(), _Answers()):
        opener.add_handler(handler)
    return opener
