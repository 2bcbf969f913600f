"""Tracing: spans of OpenTelemetry, where the extra ``otel`` is installed and the process has a tracer provider; else nothing.

    publish ─▶ traceparent, in the event's metadata ─┬─▶ dispatch
                                                     ├─▶ handle, by one group ─▶ publish ─▶ ...
                                                     ├─▶ handle, the same again after a failure
                                                     └─▶ handle, by another group
    a replay: handle, in a trace of its own, with a link to the publish

Spans say what happened and to what, under the names of the messaging conventions; never an event's data, nor what an error says.
"""

try:
    from eventbus.tracing.spans import Span, carried, dispatching, handling, publishing
except ImportError:  # without the extra
    from eventbus.tracing.no_spans import (  # type: ignore[assignment]
        Span,
        carried,
        dispatching,
        handling,
        publishing,
    )

__all__ = ["Span", "carried", "dispatching", "handling", "publishing"]
