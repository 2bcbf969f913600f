"""Contract: what publishing, the relay and health checks need of a broker."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from uuid import UUID

from eventbus.errors import BrokerUnreachable
from eventbus.urls import without_password

#: A queue that holds so many messages gets no more wake-ups: whoever takes one of them finds all that is due around its event, and
#: relays see to the rest.
QUEUE_CAP = 100
#: How long one attempt to reach a broker may take on the publish path.
TIMEOUT_SECONDS = 0.4


@dataclass(frozen=True, kw_only=True, slots=True)
class WakeUp:
    """A message that tells a group's workers to look for work, and which event prompts it."""

    #: Of the queue and of the task.
    queue: str
    event_id: UUID | str
    type: str
    #: Whether to look for work of any time. One for an event that was just published is for what is due around it, which costs
    #: less, for each week has a table.
    everywhere: bool = True


class Announcement(NamedTuple):
    """One event, and the queues whose workers are to hear of it: a wake-up for each."""

    event_id: str
    type: str
    queues: tuple[str, ...]

    def wake_ups(self) -> list[WakeUp]:
        """One for each queue."""
        return [WakeUp(queue=queue, event_id=self.event_id, type=self.type, everywhere=False) for queue in self.queues]


class Notice(NamedTuple):
    """A text for a real-time channel."""

    channel: str
    text: bytes


class Listeners(Protocol):
    """Those who hear of events in real time, on a server of their own."""

    def tell(self, notices: Sequence[Notice]) -> None:
        """Send all at once, waiting at most a second.

        Raises:
            BrokerUnreachable: Some or all were not sent.
        """

    def post(self, notices: Sequence[Notice]) -> None:
        """The same without waiting for an answer; an error may show at the next call only.

        Raises:
            BrokerUnreachable: Some or all were not sent, now or the last time.
        """

    def ping(self) -> None:
        """Raise BrokerUnreachable unless the server answers."""


class Broker(Protocol):
    """A broker, reached in a time that publishers can spare."""

    @property
    def listeners(self) -> Listeners | None:
        """Where all notices go, if that is not the broker itself: it is given none then."""

    def send(self, wake_ups: Sequence[WakeUp], notices: Sequence[Notice]) -> None:
        """Send all at once, waiting at most a second; a broker may leave out wake-ups for a queue that is long already.

        Raises:
            BrokerUnreachable: Some or all were not sent.
        """

    def announce(self, item: Announcement, notice: Notice | None) -> None:
        """The same for one event, without waiting for an answer: its cost would be a publisher's.

        An error may show at the next call only.

        Raises:
            BrokerUnreachable: It was not sent whole, now or the last time.
        """

    def top_up(self, queue: str, wake_ups: Sequence[WakeUp], cap: int) -> int:
        """Send the first of *wake_ups* to *queue*, whichever their own are, until it holds *cap* messages; how many were sent.

        Raises:
            BrokerUnreachable: Some or all were not sent.
        """

    def ping(self) -> None:
        """Raise BrokerUnreachable unless the broker answers and accepts writes."""

    def depth(self, queue: str) -> int:
        """How many messages wait in *queue*."""


def unreachable(url: str, error: BaseException, *, has_refused: bool = False) -> BrokerUnreachable:
    """The error to raise for what a client of the broker at *url* raised, which has answered if it *has_refused*."""
    reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    found = BrokerUnreachable(f"the broker at {without_password(url)} cannot be used: {reason}.")
    found.has_refused = has_refused
    return found
