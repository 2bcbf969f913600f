"""Copying: an event as a line for a shell or for Python, to be pasted elsewhere. What is redacted stays so."""

import json
import pprint
import shlex
from dataclasses import dataclass

from eventbus.event import Event
from eventbus.redaction import REDACTED

#: What is longer is too long for a shell, and nobody pastes it.
_LONGEST = 100_000


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A text to be copied."""

    title: str
    #: What it does where it is pasted.
    purpose: str
    text: str


def copies_of(event: Event, *, url: str, cookie: str | None = None) -> list[Copy]:
    """The ways to have *event* elsewhere; data that is very long or deep can be fetched, and not be pasted.

    Args:
        url: Where this console answers with the event as JSON.
        cookie: What it wants to be sent along, by name.
    """
    curl = _curl(url, cookie)
    data = json.dumps(event.data, ensure_ascii=False)
    if len(data) > _LONGEST:
        return [curl]
    try:
        python = _python(event)
    except RecursionError:
        return [curl]
    publishes = "publishes another one like it"
    if REDACTED in f"{data}{event.metadata}":
        publishes += f", with {REDACTED} for what is hidden: put something else there"
    # The command takes no headers.
    without = "; without its headers, which only Python and a file can give" if event.headers else ""
    return [
        curl,
        Copy(title="CLI", purpose=f"Shows it, and {publishes}{without}.", text=_command_line(event, data)),
        Copy(title="Python", purpose=f"{publishes.capitalize()}.", text=python),
    ]


def _curl(url: str, cookie: str | None) -> Copy:
    purpose = "Fetches the event as JSON from this console"
    if cookie is None:
        return Copy(title="curl", purpose=f"{purpose}.", text=f"curl -fsS {shlex.quote(url)}")
    purpose = f"{purpose}, when the cookie {cookie} of your session takes the place of the dots."
    return Copy(title="curl", purpose=purpose, text=f"curl -fsS -b {cookie}=... {shlex.quote(url)}")


def _command_line(event: Event, data: str) -> str:
    # With '=', for a text that begins with a dash would be taken for an option; after '--' come none.
    options = [
        f"--source={event.source}",
        f"--version={event.version}",
        f"--correlation-id={event.correlation_id}",
    ]
    publish = shlex.join(["eventbus", "publish", *options, "--", event.type, data])
    return f"eventbus events show {event.id}\n{publish}"


def _python(event: Event) -> str:
    data = pprint.pformat(event.data, indent=4, width=100, sort_dicts=False)
    headers = f"\n    headers={dict(event.headers)!r}," if event.headers else ""
    return (
        f"bus.publish(\n    {event.type!r},\n    {_indented(data)},\n    source={event.source!r},\n"
        f"    version={event.version},\n    correlation_id={event.correlation_id!r},{headers}\n)"
    )


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")
