"""Spans: publish, dispatch and handle in the traces of OpenTelemetry, by the conventions for messaging."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from eventbus.delivery import Delivery
from eventbus.event import Event
from eventbus.failure import read_type
from eventbus.redaction import hides_correlation_ids
from eventbus.tracing import no_spans

_W3C = TraceContextTextMapPropagator()
#: So many other publishes one dispatch names.
_MOST_LINKS = 32
_NOTHING = nullcontext(no_spans.Span())
Attributes = dict[str, AttributeValue]


class Span(no_spans.Span):
    """A span that is under way."""

    def __init__(self, span: trace.Span, *, hidden: Sequence[str]) -> None:
        self._span = span
        self._hidden = hidden

    def recorded(self, events: Sequence[Event]) -> None:
        """Say which events were recorded."""
        self._span.set_attributes(_of(events, hidden=self._hidden))

    def failed(self, error: BaseException) -> None:
        """Say that it failed, and of what kind the error was; what it says may be nobody's business."""
        self._span.set_attribute("error.type", read_type(error))
        self._span.set_status(Status(StatusCode.ERROR))


def publishing(type: str | None, *, hidden: Sequence[str]) -> AbstractContextManager[no_spans.Span]:
    """The publish of one event of *type*, or of many (None): part of whatever trace its caller is in.

    Args:
        hidden: Paths of events, as `Settings.redact` has them, that no span shows.
    """
    tracer = _tracer()
    if tracer is None:
        return _NOTHING
    attributes = _operation("publish", "create") | ({} if type is None else {"messaging.destination.name": type})
    return _span(tracer, f"publish {type or 'many':.200}", SpanKind.PRODUCER, attributes, hidden=hidden)


def dispatching(
    events: Sequence[Event], *, groups: int, hidden: Sequence[str]
) -> AbstractContextManager[no_spans.Span]:
    """The wake-ups for *events*, which were committed: part of the trace of the first one's publish.

    Args:
        groups: How many deliveries there are to wake for.
        hidden: As for `publishing`.
    """
    tracer = _tracer()
    if tracer is None:
        return _NOTHING
    attributes = _operation("dispatch", "send") | _of(events, hidden=hidden) | {"eventbus.deliveries": groups}
    contexts = list({str(event.metadata.get("traceparent")): event for event in events}.values())
    links = [link for event in contexts[1 : _MOST_LINKS + 1] for link in _links(event)]
    name = f"dispatch {attributes.get('messaging.destination.name', 'many')}"
    return _span(tracer, name, SpanKind.CLIENT, attributes, hidden=hidden, context=_context(events[0]), links=links)


def handling(event: Event, delivery: Delivery, *, hidden: Sequence[str]) -> AbstractContextManager[no_spans.Span]:
    """One run of a group's handler: part of the trace of the event's publish; a replay's is a trace of its own.

    Args:
        hidden: As for `publishing`.
    """
    tracer = _tracer()
    if tracer is None:
        return _NOTHING
    attributes = _operation("handle", "process") | _of([event], hidden=hidden)
    attributes |= {"messaging.consumer.group.name": delivery.group, "eventbus.attempt": delivery.attempt}
    name = f"handle {event.type}"
    if delivery.replay is None:
        return _span(tracer, name, SpanKind.CONSUMER, attributes, hidden=hidden, context=_context(event))
    attributes["eventbus.replay"] = str(delivery.replay)
    return _span(tracer, name, SpanKind.CONSUMER, attributes, hidden=hidden, context=Context(), links=_links(event))


def carried() -> dict[str, str]:
    """What an event that is published now carries on, for its metadata: the W3C ``traceparent`` and ``tracestate``, if any."""
    found: dict[str, str] = {}
    if _tracer() is not None:
        _W3C.inject(found)
    return found


def _tracer() -> Tracer | None:
    provider = trace.get_tracer_provider()
    # The one that stands in until somebody sets a real one.
    return None if isinstance(provider, trace.ProxyTracerProvider) else _tracer_of(provider)


@lru_cache(maxsize=4)
def _tracer_of(provider: TracerProvider) -> Tracer:
    return provider.get_tracer("eventbus", version("eventbus"))


@contextmanager
def _span(
    tracer: Tracer,
    name: str,
    kind: SpanKind,
    attributes: Attributes,
    *,
    hidden: Sequence[str],
    context: Context | None = None,
    links: Sequence[Link] = (),
) -> Iterator[Span]:
    with tracer.start_as_current_span(
        name,
        context=context,
        kind=kind,
        attributes=attributes,
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    ) as started:
        span = Span(started, hidden=hidden)
        try:
            yield span
        except BaseException as error:
            span.failed(error)
            raise


def _operation(name: str, type: str) -> Attributes:
    return {"messaging.system": "eventbus", "messaging.operation.name": name, "messaging.operation.type": type}


def _of(events: Sequence[Event], *, hidden: Sequence[str]) -> Attributes:
    """What can be said of one event, or of many."""
    types = {event.type for event in events}
    found: Attributes = {"messaging.destination.name": types.pop()} if len(types) == 1 else {}
    if len(events) == 1:
        [event] = events
        found["messaging.message.id"] = str(event.id)
        if not hides_correlation_ids(hidden):
            found["messaging.message.conversation_id"] = event.correlation_id
    else:
        found["messaging.batch.message_count"] = len(events)
    return found


def _context(event: Event) -> Context:
    """The publish of *event*; nothing, if that was not traced."""
    carrier = {name: str(event.metadata[name]) for name in ("traceparent", "tracestate") if name in event.metadata}
    return _W3C.extract(carrier, Context())


def _links(event: Event) -> list[Link]:
    found = trace.get_current_span(_context(event)).get_span_context()
    return [Link(found)] if found.is_valid else []
