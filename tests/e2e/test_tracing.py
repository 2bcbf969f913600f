"""A trace of a real run, collected by OTLP from the publisher and the processes of a prefork worker."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.e2e.stage import TIMEOUT, Stage
from tests.support import wait_until
from tests.support.otlp_receiver import OtlpReceiver, Received


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """Collects spans."""
    with OtlpReceiver() as running:
        yield running


@pytest.fixture
def provider(receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[TracerProvider]:
    """That of the publisher, which is this process."""
    made = TracerProvider(resource=Resource.create({"service.name": "publisher"}))
    made.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(receiver.url)))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", made)
    yield made
    made.shutdown()


def test_a_trace_is_the_tree_of_causes(stage: Stage, receiver: OtlpReceiver, provider: TracerProvider) -> None:
    """One trace holds every event and every run that `eventbus trace` shows, each below the one that caused it."""
    stage.start(module="tests.e2e.shop.traced", concurrency=2, environment={"TRACES": receiver.url})
    event = stage.publish("order.created", correlation_id="o-1")
    told = wait_until(lambda: len(found := story(stage)) == 3 and settled(found) and found, timeout=TIMEOUT)
    wait_until(lambda: len(receiver.spans) >= 11, timeout=TIMEOUT, message=lambda: str(receiver.spans))
    spans = {span.span_id: span for span in receiver.spans}

    # publish, dispatch and handle of three events by five deliveries, one of which was tried twice.
    assert len({span.trace_id for span in spans.values()}) == 1
    assert event.metadata["traceparent"].split("-")[1] == next(iter(spans.values())).trace_id
    assert sorted(causes(spans)) == sorted(causes_of(told))
    assert sorted(runs(spans)) == sorted(runs_of(told))
    assert {span.resource["service.name"] for span in spans.values()} == {"publisher", "shop"}
    [failed] = [span for span in spans.values() if span.is_error]
    assert (failed.attributes["error.type"], failed.attributes["eventbus.attempt"]) == (
        "tests.e2e.shop.traced.Refused",
        1,
    )

    replay = stage.bus.replay(group="stock", event_ids=[event.id])
    wait_until(lambda: len(receiver.spans) >= 17, timeout=TIMEOUT, message=lambda: str(receiver.spans))
    [again] = [span for span in receiver.spans if span.attributes.get("eventbus.replay") == str(replay.id)]
    [published] = [span for span in spans.values() if span.name == "publish order.created"]
    assert (again.parent_id, again.links) == ("", [published.span_id])
    assert again.trace_id not in {span.trace_id for span in spans.values()}


def story(stage: Stage) -> list[dict[str, Any]]:
    """What `eventbus trace` tells."""
    return [json.loads(line) for line in stage.run("trace", "o-1", "--json").stdout.splitlines()]


def settled(told: list[dict[str, Any]]) -> bool:
    """Whether every group has done its part."""
    return all(delivery["state"] == "done" for event in told for delivery in event["deliveries"])


def causes(spans: dict[str, Received]) -> list[tuple[str, str | None]]:
    """Each event that was published, and the event whose handler did: by way of the run that the publish stands below."""
    found = []
    for span in spans.values():
        if span.attributes["messaging.operation.name"] == "publish":
            cause = spans[span.parent_id].attributes["messaging.message.id"] if span.parent_id else None
            found.append((span.attributes["messaging.message.id"], cause))
    return found


def causes_of(told: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    """The same, as `eventbus trace` tells it."""
    return [(event["id"], event["metadata"]["causation_id"]) for event in told]


def runs(spans: dict[str, Received]) -> list[tuple[str, str, str]]:
    """Each run: its event, its group, and the publish that it stands below."""
    handled = [span for span in spans.values() if span.attributes["messaging.operation.name"] == "handle"]
    return [
        (
            span.attributes["messaging.message.id"],
            span.attributes["messaging.consumer.group.name"],
            spans[span.parent_id].attributes["messaging.message.id"],
        )
        for span in handled
    ]


def runs_of(told: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """The same: as many as a delivery had, those that failed among them."""
    return [
        (event["id"], delivery["group"], event["id"])
        for event in told
        for delivery in event["deliveries"]
        for _ in range(delivery["attempts"] + 1)
    ]
