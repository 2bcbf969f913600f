"""Alerting: a webhook is told of each cause of dead letters that is new or has returned.

    due? ─▶ take (committed) ─▶ POST, outside any transaction ─┬─ taken ───▶ sent
                                                               ├─ refused ─▶ tried again after a backoff, in the end given up
                                                               └─ the sender dies ─▶ taken again after its lease

So each alert is told once, and twice only if its sender dies between the answer and the commit. One POST tells all that is due, and
the next leaves some time after it: a deploy that breaks everything floods nobody.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from eventbus import webhook
from eventbus.lifecycle.fingerprinting import gist_without
from eventbus.redaction import REDACTED, secrets_of
from eventbus.settings import AlertFormat, Settings
from eventbus.storage import alerts, dead_letters, event_log
from eventbus.storage.alerts import Alert
from eventbus.storage.database import Database
from eventbus.webhook import Refused
from eventbus.wire import encode

log = logging.getLogger(__name__)

#: Alerts of one POST.
_MOST = 20
_TIMEOUT_SECONDS = 10.0
#: Slack takes 3,000 characters of one text, which holds more than the error.
_LONGEST_TEXT = 2500
#: Until then a sender has its answer, or is taken for dead.
_LEASE = timedelta(seconds=60)
#: What could not be told for so long is no news any more.
_NEWS = timedelta(days=1)
_MOST_ATTEMPTS = 12
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=10), timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True)
class Alerting:
    """One worker's part in sending alerts; any number may run."""

    database: Database
    settings: Settings

    def send(self) -> None:
        """Send what is due, if nobody else is at it; returns when it was answered, at the latest after some time limits.

        Raises:
            DatabaseError: What was due still is, or will be when its lease ends.
        """
        url, pause = self.settings.alert_url, self.settings.alert_pause
        if url is None:
            return
        with self.database.autocommit() as connection:
            if not alerts.is_due(connection, pause=pause):
                return
        with self.database.transaction() as connection:
            taken = alerts.take(connection, pause=pause, lease=_LEASE, kept=_NEWS, limit=_MOST)
        if taken:
            self._post(url, [self._redacted(alert) for alert in taken])

    def _post(self, url: str, taken: Sequence[Alert]) -> None:
        ids = [alert.id for alert in taken]
        compose = _FORMATS[self.settings.alert_format]
        # The same for the same alerts, so that a receiver knows a repeat.
        id = f"alert_{hashlib.sha256(repr(ids).encode()).hexdigest()[:24]}"
        body = encode(compose(taken, self.settings.prefix))
        refused = webhook.post(url, body, id=id, secret=self.settings.alert_secret, timeout_seconds=_TIMEOUT_SECONDS)
        if refused is None:
            with self.database.autocommit() as connection:
                alerts.end(connection, ids, result="sent")
            log.info("alerts_sent", extra={"alerts": len(ids)})
        else:
            self._postpone(taken, refused, host=urlsplit(url).hostname)

    def _postpone(self, taken: Sequence[Alert], refused: Refused, *, host: str | None) -> None:
        hopeless = [alert.id for alert in taken if alert.attempts >= _MOST_ATTEMPTS]
        with self.database.transaction() as connection:
            alerts.end(connection, hopeless, result="given up", error=refused.reason)
            for alert in taken:
                doublings = min(alert.attempts - 1, _MOST_ATTEMPTS)
                wait = min(_FIRST_WAIT * 2**doublings, _LONGEST_WAIT)
                wait = max(wait, min(timedelta(seconds=refused.retry_after_seconds), _LONGEST_WAIT))
                alerts.postpone(connection, alert, wait=wait, error=refused.reason)
        facts = {"receiver": host, "reason": refused.reason, "alerts": len(taken), "given_up": len(hopeless)}
        log.log(logging.ERROR if hopeless else logging.WARNING, "alerts_not_sent", extra=facts)

    def _redacted(self, alert: Alert) -> Alert:
        """*alert* without values that EVENTBUS_REDACT names, which an error's message may repeat."""
        if not self.settings.redact:
            return alert
        with self.database.autocommit() as connection:
            event = event_log.find(connection, alert.event_id)
            letter = dead_letters.find_letter(connection, alert.letter_id)
        if event is None or letter is None:  # somebody deleted it, and with it what is hidden
            return replace(alert, gist=REDACTED)
        return replace(alert, gist=gist_without(letter, secrets_of(event, self.settings.redact)))


def compose_json(taken: Sequence[Alert], bus: str) -> dict[str, Any]:
    """What a receiver of our own format gets.

    Args:
        bus: EVENTBUS_PREFIX, which tells several apart.
    """
    return {"type": "eventbus.alert", "bus": bus, "alerts": [_facts(alert) for alert in taken]}


def compose_slack(taken: Sequence[Alert], bus: str) -> dict[str, Any]:
    """The same as a message for Slack, and for what takes messages like Slack."""
    # Not escaped: neither a prefix nor a group's name may hold what means something to Slack.
    summary = f"{bus}: {len(taken)} {'cause' if len(taken) == 1 else 'causes'} of dead letters"
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": text}} for text in _texts(taken)]
    header = {"type": "section", "text": {"type": "mrkdwn", "text": f"*{summary}*"}}
    return {"text": summary, "blocks": [header, *blocks]}


_FORMATS: dict[AlertFormat, Callable[[Sequence[Alert], str], dict[str, Any]]] = {
    AlertFormat.JSON: compose_json,
    AlertFormat.SLACK: compose_slack,
}


def _texts(taken: Sequence[Alert]) -> Iterator[str]:
    for alert in taken:
        title = f"{'New' if alert.kind == 'new' else 'Returned'} in {', '.join(alert.groups)}"
        error = f"{alert.error_type}: {alert.gist}" if alert.gist else alert.error_type
        place = f" at {alert.place}" if alert.place else ""
        # Cut as it is sent: if one text is too long for Slack, it takes none of the message.
        told = _escaped(f"{error}{place}")[:_LONGEST_TEXT]
        look = f"eventbus dead show {alert.letter_id}    eventbus dead acknowledge {alert.fingerprint}"
        yield f"*{title[:300]}*\n{told}\n`{look}`"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _facts(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "kind": alert.kind,
        "fingerprint": alert.fingerprint,
        "error_type": alert.error_type,
        "message": alert.gist,
        "place": alert.place,
        "groups": list(alert.groups),
        "state": alert.state,
        "occurrences": alert.occurrences,
        "first_seen_at": alert.first_seen_at.isoformat(),
        "last_seen_at": alert.last_seen_at.isoformat(),
        "dead_letter": {
            "id": alert.letter_id,
            "event_id": str(alert.event_id),
            "event_type": alert.event_type,
            "group": alert.group,
            "failed_at": alert.failed_at.isoformat(),
        },
    }
