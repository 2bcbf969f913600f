"""Fingerprints of dead letters: listed, acknowledged, resolved, which each is by itself when all of its letters have ended.

    settle ─▶ those without an open letter ─▶ each retried letter's delivery has ended? ─▶ resolved
    adopt ──▶ letters that were written before fingerprints were counted

Both are housekeeping: harmless to repeat, and to do at the same time elsewhere.
"""

import logging
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from eventbus.errors import InvalidInput, NotPermitted, UnknownFingerprint
from eventbus.failure import find_cause
from eventbus.lifecycle.auditing import audited
from eventbus.lifecycle.paging import check_limit
from eventbus.redaction import conceal
from eventbus.storage import fingerprints, subscriptions
from eventbus.storage.database import Database
from eventbus.storage.dead_letters import DeadLetter
from eventbus.storage.fingerprints import KnownFingerprint
from eventbus.subscription import check_group
from eventbus.wire import is_text

log = logging.getLogger(__name__)

STATES = ("new", "acknowledged", "resolved", "returned")
_FORM = re.compile(r"[\w.-]{1,100}")
#: Fingerprints, and letters of each, of one transaction; letters that are adopted at once.
_FINGERPRINTS, _LETTERS, _ADOPTED = 1000, 1000, 500
_ADOPTING_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class FingerprintPage:
    """Some fingerprints, those seen last first."""

    items: tuple[KnownFingerprint, ...]
    #: Pass it as ``cursor`` for the next page; None after the last one.
    next: str | None


def list_page(
    database: Database, *, state: str | None, group: str | None, cursor: str | None, limit: int
) -> FingerprintPage:
    """Up to *limit* (1 to 1000) fingerprints, those seen last first.

    Raises:
        InvalidInput: The state, the limit or the cursor cannot be used.
        UnknownGroup: The group never subscribed.
    """
    if state is not None and state not in STATES:
        raise InvalidInput(f"state={state!r:.60} must be one of {', '.join(STATES)}, or None for all.")
    check_limit(limit)
    before = None if cursor is None else _read_cursor(cursor)
    # Who may only look sees what housekeeping has found a few seconds ago.
    with suppress(NotPermitted):
        settle(database)
    with database.autocommit() as connection:
        if group is not None:
            subscriptions.require_group(connection, check_group(group))
        found = fingerprints.list_known(connection, state=state, group=group, before=before, limit=limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    return FingerprintPage(
        items=tuple(found[:limit]), next=None if last is None else f"{last.last_seen_at.isoformat()}/{last.fingerprint}"
    )


def show(database: Database, fingerprint: str) -> KnownFingerprint:
    """That fingerprint.

    Raises:
        UnknownFingerprint: No dead letter ever had it.
    """
    check(fingerprint)
    with database.autocommit() as connection:
        found = fingerprints.find(connection, fingerprint)
    if found is None:
        raise UnknownFingerprint(fingerprint)
    return found


def gist_without(letter: DeadLetter, secrets: Sequence[str]) -> str:
    """The gist of a letter's cause, without *secrets*: taken anew, for what was generalised of a value hides the rest of it."""
    message, traceback = conceal(letter.error_message, secrets), conceal(letter.traceback, secrets)
    return find_cause(letter.error_type, message, traceback, group=letter.group).gist


def acknowledge(database: Database, fingerprint: str, *, note: str | None) -> None:
    """State that somebody looks after it, keeping *note* in the place of the one before.

    Raises:
        InvalidInput: It is resolved, or the note is empty. Nothing was changed.
        UnknownFingerprint: No dead letter ever had it.
    """
    if not _change(database, "dead acknowledge", fingerprint, state="acknowledged", note=note):
        raise InvalidInput(f"fingerprint {fingerprint} is resolved: there is nothing to look after until it returns.")


def resolve(database: Database, fingerprint: str, *, note: str | None) -> None:
    """State that its cause is mended, whatever letters are open: the next one means that it has returned.

    Raises:
        InvalidInput: The note is empty. Nothing was changed.
        UnknownFingerprint: No dead letter ever had it.
    """
    _change(database, "dead resolve", fingerprint, state="resolved", note=note)


def settle(database: Database) -> None:
    """Resolve the fingerprints of which no letter is open and no retry is under way."""
    settled: list[str] = []
    with database.transaction() as connection:
        if quiet := fingerprints.lock_quiet(connection, limit=_FINGERPRINTS):
            settled = fingerprints.settle(connection, quiet, limit=_LETTERS)
    for fingerprint in settled:
        log.info("fingerprint_resolved", extra={"fingerprint": fingerprint})


def adopt(database: Database) -> None:
    """Count the dead letters of code that counted no fingerprints, in batches, for some seconds: other chores wait meanwhile."""
    deadline, after, adopted = time.monotonic() + _ADOPTING_SECONDS, 0, _ADOPTED
    while adopted == _ADOPTED and time.monotonic() < deadline:
        with database.transaction() as connection:
            letters = fingerprints.list_unknown(connection, after=after, limit=_ADOPTED)
            causes = [
                (letter.id, find_cause(letter.error_type, letter.error_message, letter.traceback, group=letter.group))
                for letter in letters
            ]
            if causes:
                fingerprints.adopt(connection, causes)
        adopted = len(letters)
        after = letters[-1].id if letters else after


def check(fingerprint: object) -> None:
    """Make sure that *fingerprint* may be one.

    Raises:
        InvalidInput: It cannot be.
    """
    if not isinstance(fingerprint, str) or not _FORM.fullmatch(fingerprint):
        raise InvalidInput(
            f"fingerprint={fingerprint!r:.60} is not one, such as '3f2a9c0d1b7e4856': 'eventbus dead fingerprints' lists them."
        )


def _change(database: Database, action: str, fingerprint: str, *, state: str, note: str | None) -> bool:
    if note is not None and not (is_text(note) and note.strip()):
        raise InvalidInput(f"note={note!r:.60}: write something, in Unicode.")
    show(database, fingerprint)
    with (
        audited(database, action, {"fingerprint": fingerprint, "note": note}) as change,
        database.autocommit() as connection,
    ):
        is_changed = fingerprints.change_state(connection, fingerprint, state=state, note=note)
        change.changed = int(is_changed)
    return is_changed


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    at, _, fingerprint = str(cursor).partition("/")
    try:
        seen_at = datetime.fromisoformat(at)
    except ValueError:
        seen_at = None
    if seen_at is None or seen_at.tzinfo is None or not _FORM.fullmatch(fingerprint):
        raise InvalidInput(f"cursor={cursor!r:.60} is not one: pass what the page before gave as 'next'.")
    return seen_at, fingerprint
