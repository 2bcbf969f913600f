"""A publisher: publishes in all ways there are, and writes down what it was told became of each event.

python -m tests.chaos.publisher NAME SEED JOURNAL
"""

import json
import random
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.orm import Session

from eventbus import Draft, EventBus
from eventbus.errors import EventBusError, PublishUncertain
from tests.chaos.tables import ACCOUNTS

MOODS = {"ok": 80, "slow": 8, "fails once": 8, "always fails": 2, "kills": 1}
WAYS = {"plain": 55, "keyed": 15, "session": 12, "slow session": 6, "rolled back": 6, "many": 6}
PAUSE_SECONDS = 0.12
#: How often an uncertain publish with a key is repeated.
REPEATS = 20


class Publisher:
    """Publishes until it is told to stop."""

    def __init__(self, name: str, seed: int, journal: Path) -> None:
        self.name = name
        self.random = random.Random(f"{seed}-{name}")
        self.bus = EventBus.from_env()
        self.stopped = threading.Event()
        self.number = sum(1 for _ in journal.open()) if journal.exists() else 0
        self.journal = journal.open("a", buffering=1)

    def run(self) -> None:
        """Publish in random ways until SIGTERM."""
        signal.signal(signal.SIGTERM, lambda *_: self.stopped.set())
        while not self.stopped.wait(PAUSE_SECONDS * self.random.uniform(0.2, 1.8)):
            way = self.random.choices(list(WAYS), list(WAYS.values()))[0]
            count = 8 if way == "many" else 1
            facts = [fact for fact, _ in zip(self._facts(), range(count), strict=False)]
            self._note("begun", facts)
            self._note(self._outcome(way, facts), facts)

    def _outcome(self, way: str, facts: list[dict[str, Any]]) -> str:
        """``returned``, ``refused`` (nothing was recorded), ``unknown``, or ``untyped`` for an error that is not of our tree."""
        try:
            return {
                "plain": self._plain,
                "keyed": self._keyed,
                "session": self._session,
                "slow session": self._session,
                "rolled back": self._session,
                "many": self._many,
            }[way](way, facts)
        except PublishUncertain:
            return "unknown"
        except EventBusError:
            return "refused"
        except Exception as error:  # to a user of the bus it would be a surprise: the verdict shows it as one
            traceback.print_exc()
            return f"untyped: {type(error).__module__}.{type(error).__name__}"

    def _plain(self, _way: str, facts: list[dict[str, Any]]) -> str:
        self.bus.publish(self._type(facts[0]), facts[0], source=self.name)
        return "returned"

    def _keyed(self, _way: str, facts: list[dict[str, Any]]) -> str:
        """What is uncertain is repeated with its key until it is certain."""
        for _ in range(REPEATS):
            try:
                key = facts[0]["number"]
                self.bus.publish(self._type(facts[0]), facts[0], source=self.name, idempotency_key=key)
            except PublishUncertain:
                self.stopped.wait(0.2)
            else:
                return "returned"
        return "unknown"

    def _many(self, _way: str, facts: list[dict[str, Any]]) -> str:
        self.bus.publish_many([Draft(type=self._type(fact), data=fact, source=self.name) for fact in facts])
        return "returned"

    def _session(self, way: str, facts: list[dict[str, Any]]) -> str:
        """In a transaction of this publisher's own, which a slow one keeps open while others commit before it."""
        try:
            with Session(self.bus.database.engine) as session:
                self.bus.publish(self._type(facts[0]), facts[0], source=self.name, session=session)
                if way == "rolled back":
                    session.rollback()
                    return "refused"
                if way == "slow session":
                    self.stopped.wait(self.random.uniform(0.5, 2.0))
                return self._committed(session)
        except sqlalchemy.exc.DBAPIError:
            return "refused"

    def _committed(self, session: Session) -> str:
        try:
            session.commit()
        except sqlalchemy.exc.DBAPIError:
            return "unknown"  # the commit's answer may have been lost, and this publisher does not ask
        return "returned"

    def _facts(self) -> Iterator[dict[str, Any]]:
        while True:
            self.number += 1
            source, target = self.random.sample(range(1, ACCOUNTS + 1), 2)
            yield {
                "number": f"{self.name}-{self.number}",
                "mood": self.random.choices(list(MOODS), list(MOODS.values()))[0],
                "seconds": round(self.random.uniform(0.1, 0.8), 2),
                "from": source,
                "to": target,
                "amount": self.random.randint(1, 100),
            }

    def _type(self, fact: dict[str, Any]) -> str:
        return "transfer.ordered" if fact["amount"] > 10 else "notice.given"

    def _note(self, outcome: str, facts: list[dict[str, Any]]) -> None:
        for fact in facts:
            self.journal.write(json.dumps({"number": fact["number"], "outcome": outcome}) + "\n")


if __name__ == "__main__":
    name, seed, journal = sys.argv[1:]
    Publisher(name, int(seed), Path(journal)).run()
