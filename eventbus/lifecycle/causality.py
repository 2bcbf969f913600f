"""Causality: the events of a story as a tree, each below the one whose handler published it."""

from collections.abc import Iterator, Sequence

from eventbus.event import Event


def in_causal_order(events: Sequence[Event]) -> Iterator[tuple[int, Event]]:
    """Each event with its depth, below the event that caused it; one whose cause is not here begins a tree of its own."""
    known = {event.id for event in events}
    effects: dict[object, list[Event]] = {}
    for event in events:
        cause = event.causation_id if event.causation_id in known else None
        effects.setdefault(cause, []).append(event)
    todo = [(0, event) for event in reversed(effects.get(None, []))]
    while todo:
        depth, event = todo.pop()
        yield depth, event
        todo.extend((depth + 1, effect) for effect in reversed(effects.get(event.id, [])))
