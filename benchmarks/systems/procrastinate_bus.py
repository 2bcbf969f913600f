"""procrastinate: an insert, then a job in each group's queue; jobs are rows, so it keeps the states of deliveries itself."""

from collections.abc import Iterable

from procrastinate import App, PsycopgConnector

from benchmarks import traces
from benchmarks.ledger import open_ledger
from benchmarks.orders import GROUPS, Order
from benchmarks.stage import current

app = App(connector=PsycopgConnector(conninfo=current().database_url))
_ledger = open_ledger()


@app.task(name="handle")
async def handle(event: int, order: Order) -> None:
    """Do nothing: procrastinate marks the job."""
    del event
    traces.note(order)


def prepare() -> None:
    """Create the tables of both."""
    _ledger.create()
    start()
    app.schema_manager.apply_schema()


def start() -> None:
    """Connect a publisher."""
    app.open()


def publish(order: Order) -> None:
    """Insert, then tell each group."""
    event = _ledger.record_event(order)
    for group in GROUPS:
        handle.configure(queue=group).defer(event=event, order=order)


def publish_many(orders: Iterable[Order]) -> None:
    """Insert many at once, then procrastinate's batch_defer."""
    listed = list(orders)
    events = _ledger.record_many(listed, deliveries=False)
    jobs = [{"event": event, "order": order} for event, order in zip(events, listed, strict=True)]
    for group in GROUPS:
        handle.configure(queue=group).batch_defer(*jobs)
