"""Tracing: a trace leads from the publisher through each group to what handlers publish; without a provider there is none."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.orm import Session

from eventbus import Delivery, Draft, Event, EventBus, tracing
from eventbus.errors import InvalidEventType
from tests.integration.conftest import MakeBus, MakeWorker
from tests.support.rows import Rows
from tests.support.single_runs import SingleRuns


class Spans:
    """What was exported."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def named(self, name: str) -> list[ReadableSpan]:
        """The spans of that name, as they ended."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one."""
        [span] = self.named(name)
        return span


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """A tracer provider for this test."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield Spans(exporter)
    provider.shutdown()


def traceparent(span: ReadableSpan) -> str:
    """How W3C writes the context of a span."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def is_below(child: ReadableSpan, parent: ReadableSpan) -> bool:
    """Whether one span is a direct child of the other, in the same trace."""
    found, wanted = child.parent, parent.get_span_context()
    return found is not None and (found.trace_id, found.span_id) == (wanted.trace_id, wanted.span_id)


@pytest.fixture
def here(bus: EventBus, worker: MakeWorker) -> SingleRuns:
    """A worker of a group that publishes what follows, and fails on its first try."""
    failures = iter([ValueError("the card 4929 was refused")])

    @bus.subscribe("order.created", group="stock")
    def reserve(event: Event) -> None:
        for error in failures:
            raise error
        bus.publish("stock.reserved", {}, source="stock")

    bus.subscribe("stock.reserved", group="mail", handler=lambda event: None)
    return worker()


def run(here: SingleRuns, group: str) -> None:
    """Let the worker run what is due, and settle it."""
    claimed = here.take(group)
    assert claimed is not None
    error = here.run(claimed)
    if isinstance(error, BaseException):
        here.fail(claimed, error)


def make_due(rows: Rows) -> None:
    """End all backoffs."""
    rows.all("UPDATE eventbus.delivery SET due_at = now() WHERE state = 'retrying'")


def test_a_trace_leads_through_groups_and_retries(bus: EventBus, here: SingleRuns, spans: Spans, rows: Rows) -> None:
    """Each run is a span of the publish's trace, and what a handler publishes stands below its run."""
    event = bus.publish("order.created", {}, source="shop", correlation_id="o-1")
    run(here, "stock")
    make_due(rows)
    run(here, "stock")
    run(here, "mail")

    published, dispatched = spans.one("publish order.created"), spans.one("dispatch order.created")
    failed, handled = spans.named("handle order.created")
    followed, mailed = spans.one("publish stock.reserved"), spans.one("handle stock.reserved")
    assert published.parent is None
    assert all(is_below(span, published) for span in (dispatched, failed, handled))
    assert is_below(followed, handled)
    assert is_below(mailed, followed)
    assert event.metadata["traceparent"] == traceparent(published)
    assert "tracestate" not in event.metadata
    assert [span.status.status_code for span in (failed, handled)] == [
        trace.StatusCode.ERROR,
        trace.StatusCode.UNSET,
    ]


def test_no_span_tells_of_a_story_that_nobody_may_see(make_bus: MakeBus, worker: MakeWorker, spans: Spans) -> None:
    """Of an event's metadata a span has nothing else."""
    bus = make_bus(redact="metadata.correlation_id")
    bus.subscribe("order.created", group="stock", handler=lambda event: None)
    stock = worker(bus)
    event = bus.publish("order.created", {}, source="shop", correlation_id="hush-4711")
    run(replace(stock, hidden=bus.settings.redact), "stock")

    told = [spans.one(f"{what} order.created") for what in ("publish", "dispatch", "handle")]

    assert {(span.attributes or {})["messaging.message.id"] for span in told} == {str(event.id)}
    assert [span.name for span in told if "hush" in span.to_json()] == []


def test_spans_say_what_the_conventions_for_messaging_ask(
    bus: EventBus, here: SingleRuns, spans: Spans, rows: Rows
) -> None:
    """Names, kinds and attributes; of an error only its type, for what it says may be nobody's business."""
    event = bus.publish("order.created", {}, source="shop", correlation_id="o-1")
    run(here, "stock")

    message = {
        "messaging.system": "eventbus",
        "messaging.destination.name": "order.created",
        "messaging.message.id": str(event.id),
        "messaging.message.conversation_id": "o-1",
    }
    published, dispatched = spans.one("publish order.created"), spans.one("dispatch order.created")
    handled = spans.one("handle order.created")
    assert (published.kind, dispatched.kind, handled.kind) == (
        trace.SpanKind.PRODUCER,
        trace.SpanKind.CLIENT,
        trace.SpanKind.CONSUMER,
    )
    assert dict(published.attributes or {}) == {
        **message,
        "messaging.operation.name": "publish",
        "messaging.operation.type": "create",
    }
    assert dict(dispatched.attributes or {}) == {
        **message,
        "messaging.operation.name": "dispatch",
        "messaging.operation.type": "send",
        "eventbus.deliveries": 1,
    }
    assert dict(handled.attributes or {}) == {
        **message,
        "messaging.operation.name": "handle",
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": "stock",
        "eventbus.attempt": 1,
        "error.type": "ValueError",
    }
    assert not handled.events
    assert "4929" not in handled.to_json()


def test_a_replay_links_instead_of_continuing(bus: EventBus, worker: MakeWorker, spans: Spans) -> None:
    """A run of today is no part of a trace of last month; one that was not traced is not linked to."""
    with untraced():
        bus.publish("order.created", {}, source="shop")
    event = bus.publish("order.created", {}, source="shop")
    bus.subscribe("order.created", group="late", handler=lambda event: None)
    late = worker()
    replay = bus.replay("order.created", group="late", since="1h")
    for _ in range(2):
        run(late, "late")

    published = spans.one("publish order.created")
    first, second = spans.named("handle order.created")
    assert (first.parent, second.parent, list(first.links)) == (None, None, [])
    assert [link.context.span_id for link in second.links] == [published.get_span_context().span_id]
    assert second.get_span_context().trace_id != published.get_span_context().trace_id
    assert dict(second.attributes or {})["eventbus.replay"] == str(replay.id)
    assert dict(second.attributes or {})["messaging.message.id"] == str(event.id)


class untraced:
    """No provider is set while the block runs."""

    def __enter__(self) -> None:
        self._provider, trace._TRACER_PROVIDER = trace._TRACER_PROVIDER, None

    def __exit__(self, *_: object) -> None:
        trace._TRACER_PROVIDER = self._provider


def test_a_publish_joins_its_callers_trace(bus: EventBus, spans: Spans) -> None:
    """As that of a web request; what a state of the trace says goes along."""
    state = trace.TraceState([("vendor", "1")])
    remote = trace.SpanContext(7, 8, is_remote=True, trace_flags=trace.TraceFlags(1), trace_state=state)
    with trace.use_span(trace.NonRecordingSpan(remote)):
        event = bus.publish("order.created", {}, source="shop")

    published = spans.one("publish order.created")
    assert (published.parent, published.get_span_context().trace_id) == (remote, 7)
    assert event.metadata["tracestate"] == "vendor=1"
    assert bus.event_details(event.id).event.metadata["traceparent"] == traceparent(published)


def test_what_a_transaction_publishes_is_dispatched_in_the_first_ones_trace(
    bus: EventBus, here: SingleRuns, spans: Spans
) -> None:
    """After the commit, in whatever context that is; the others are linked."""
    with Session(bus.database.engine) as session:
        for _ in range(2):
            bus.publish("order.created", {}, source="shop", session=session)
        before = spans.named("dispatch order.created")
        session.commit()

    first, second = spans.named("publish order.created")
    dispatched = spans.one("dispatch order.created")
    assert before == []
    assert is_below(dispatched, first)
    assert [link.context.span_id for link in dispatched.links] == [second.get_span_context().span_id]
    assert dict(dispatched.attributes or {})["messaging.batch.message_count"] == 2


def test_many_are_one_publish(bus: EventBus, here: SingleRuns, spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand spans would say nothing more: every event carries on the one, and each batch is a dispatch below it."""
    monkeypatch.setattr("eventbus.lifecycle.publishing.BATCH_EVENTS", 2)
    events = bus.publish_many(
        Draft(type=type, data={}, source="shop") for type in ("order.created", "order.created", "order.paid")
    )

    published = spans.one("publish many")
    assert {event.metadata["traceparent"] for event in events} == {traceparent(published)}
    assert dict(published.attributes or {})["messaging.batch.message_count"] == 3
    assert all(is_below(span, published) for span in spans.named("dispatch order.created"))
    assert [dict(span.attributes or {})["eventbus.deliveries"] for span in spans.named("dispatch order.created")] == [2]
    assert is_below(spans.one("dispatch order.paid"), published)


def test_an_event_of_many_carries_on_the_span_that_it_was_drafted_in(bus: EventBus, spans: Spans) -> None:
    """As where an iterable passes on what others have sent, each within the trace of its message."""

    def drafts() -> Iterator[Draft]:
        for number in range(3):
            with trace.get_tracer("tests").start_as_current_span(f"message {number}"):
                yield Draft(type="order.created", data={}, source="tests")

    events = bus.publish_many(drafts())

    assert [event.metadata["traceparent"] for event in events] == [
        traceparent(spans.one(f"message {number}")) for number in range(3)
    ]


def test_a_publish_that_is_refused_is_an_error(bus: EventBus, spans: Spans) -> None:
    """Whatever it was that should have been published."""
    refused: list[Any] = ["order created", 7]
    for type in refused:
        with pytest.raises(InvalidEventType):
            bus.publish(type, {}, source="shop")

    names = ("publish order created", "publish many")
    for span in map(spans.one, names):
        assert dict(span.attributes or {})["error.type"] == "eventbus.errors.InvalidEventType"
        assert span.status.status_code is trace.StatusCode.ERROR


def test_a_repeat_returns_the_event_of_the_first_trace(bus: EventBus, spans: Spans) -> None:
    """Under an idempotency key, whoever publishes it again."""
    first, again = (bus.publish("order.created", {}, source="shop", idempotency_key="k") for _ in range(2))

    assert again.metadata["traceparent"] == first.metadata["traceparent"]
    assert len(spans.named("dispatch order.created")) == 1


def test_without_a_provider_nothing_is_written(bus: EventBus, here: SingleRuns, rows: Rows) -> None:
    """The API alone, which other libraries bring along, changes nothing."""
    event = bus.publish("order.created", {}, source="shop")
    run(here, "stock")

    stored = rows.value("SELECT metadata FROM eventbus.event_log WHERE id = %s", str(event.id))
    assert set(stored) == {"correlation_id", "causation_id", "headers"}
    # Nothing is even made: it is one and the same for all.
    delivery = Delivery(group="stock", attempt=1, replay=None)
    nothing = tracing.publishing(None, hidden=())
    assert tracing.publishing("order.created", hidden=()) is tracing.handling(event, delivery, hidden=()) is nothing
    assert tracing.dispatching([event], groups=1, hidden=()) is nothing


def test_without_the_extra_nothing_is_asked(environment: object, rows: Rows) -> None:
    """OpenTelemetry is neither needed nor looked for again."""
    script = (
        "import sys\nsys.modules['opentelemetry'] = None\nfrom eventbus import Draft, EventBus, tracing\n"
        "bus = EventBus.from_env()\n"
        "bus.publish('order.created', {}, source='shop')\n"
        "bus.publish_many([Draft(type='order.created', data={}, source='shop')])\n"
        "print(tracing.Span.__module__, tracing.carried())\n"
        "with tracing.handling(None, None, hidden=()) as span: span.failed(ValueError())\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "eventbus.tracing.no_spans {}\n"
    assert rows.value("SELECT count(*) FROM eventbus.event_log WHERE metadata ? 'traceparent'") == 0
