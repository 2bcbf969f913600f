"""Recovery: the steps in which the event log gives a service what it missed, lost, or never had."""

from collections.abc import Sequence

from eventbus.demo import orders
from eventbus.demo.proof import Figure, figure, reading
from eventbus.demo.stage import Stage
from eventbus.event import Draft

#: Orders that are published while analytics is stopped.
MISSED = 500


def absence(stage: Stage) -> list[Figure]:
    """Analytics is stopped, orders are published; started again, it handles all of them, without any replay."""
    stage.services.stop("analytics")
    stage.narrator.say(f"analytics is stopped; {MISSED} orders are published")
    stage.bus.publish_many(_orders("g"))
    meanwhile = stage.evidence.deliveries("g", "analytics")
    stage.start("analytics")
    stage.count("analytics handles them", MISSED, lambda: stage.evidence.deliveries("g", "analytics").get("done", 0))
    return [
        figure("{} orders in event_log", stage.evidence.events("g"), MISSED),
        figure("while analytics was stopped: {}", meanwhile, {"pending": MISSED}),
        figure("after it was started: {}", stage.evidence.deliveries("g", "analytics"), {"done": MISSED}),
        figure("replays: {}", stage.evidence.replays(), 0),
        stage.each_once("sale", "g", MISSED),
    ]


def loss(stage: Stage) -> list[Figure]:
    """The table of analytics is emptied; a replay since the last step began restores each of its orders once."""
    since = stage.evidence.began("g")
    lost = stage.evidence.empty("sale")
    stage.narrator.say(f"sample.sale is emptied: {lost} rows are lost")
    stage.narrator.command(f"eventbus replay run order.created --group analytics --since {since.isoformat()}")
    replayed = stage.bus.replay(orders.TYPE, group="analytics", since=since).count
    stage.count("analytics handles them again", MISSED, lambda: stage.evidence.effects("sale", "g")[0])
    stage.wait("nothing is open", lambda: stage.evidence.open_deliveries("g") == 0)
    ordered, sold = stage.evidence.amounts("g", "analytics")
    return [
        reading("sample.sale: {} rows were lost", lost),
        figure("replay() returned {}", replayed, MISSED),
        figure("deliveries: {}", stage.evidence.deliveries("g", "analytics"), {"done": MISSED}),
        stage.each_once("sale", "g", MISSED),
        figure("sample.sale: EUR {}, as in event_log", sold, ordered),
    ]


def history(stage: Stage) -> list[Figure]:
    """The archive subscribed in step (f); a replay of what is older gives it the orders of the steps before."""
    until = stage.evidence.began("f")
    older = stage.evidence.older(orders.TYPE, until)
    before = stage.evidence.received_of(older)
    stage.narrator.command(f"eventbus replay run order.created --group archive --until {until.isoformat()}")
    replayed = stage.bus.replay(orders.TYPE, group="archive", until=until).count
    stage.count("the archive receives them", len(older), lambda: stage.evidence.received_of(older)[0])
    after = stage.evidence.received_of(older)
    return [
        reading("{} orders in event_log before the archive subscribed", len(older)),
        figure("received before: {}", before[0], 0),
        figure("replay() returned {}", replayed, len(older)),
        figure("received by the handler: {}", "{:,} rows, {:,} orders".format(*after), _rows(len(older))),
    ]


def _rows(count: int) -> str:
    return f"{count:,} rows, {count:,} orders"


def _orders(story: str) -> Sequence[Draft]:
    return [
        Draft(type=orders.TYPE, data=orders.order(number), source=orders.SOURCE, correlation_id=story)
        for number in range(1, MISSED + 1)
    ]
