"""The shop's Celery app and its bus; the handlers are declared in modules that Celery imports later."""

import os

from celery import Celery

from eventbus import EventBus
from tests.e2e.shop.effects import note_ordinary

app = Celery(
    "shop", include=[f"tests.e2e.shop.{name}" for name in os.environ.get("SHOP", "orders failures handlers").split()]
)
app.conf.update(
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
    # The broker is shared with other tests: ordinary tasks wait in a queue of this shop's own.
    task_default_queue=f"{os.environ['EVENTBUS_PREFIX']}.ordinary",
    task_ignore_result=True,
    task_soft_time_limit=float(os.environ.get("SHOP_SOFT_LIMIT", "0")) or None,
    worker_prefetch_multiplier=1,
)
bus = EventBus(app)


@app.task(name="shop.ordinary")  # type: ignore[untyped-decorator]
def ordinary(word: str) -> None:
    """A task that has nothing to do with the bus."""
    note_ordinary(word)
