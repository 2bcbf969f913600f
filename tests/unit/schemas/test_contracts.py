"""Whom a change touches."""

from typing import Any

import pytest
from marshmallow import fields

from eventbus.errors import InvalidSchema
from eventbus.schemas.contracts import Effect, GroupContract, contract, find, impact, paths_of
from eventbus.schemas.conversion import to_json_schema
from eventbus.schemas.event_schema import EventSchema
from eventbus.schemas.upcasting import Upcasters


class Line(EventSchema):
    """One line."""

    sku = fields.String(required=True)
    note = fields.String()


class Order(EventSchema):
    """Version 1."""

    orderId = fields.String(required=True)
    total = fields.Integer()
    lines = fields.List(fields.Nested(Line), required=True)
    prices = fields.Dict(values=fields.Float())


class BareLine(EventSchema):
    """Without its note."""

    sku = fields.String(required=True)


class NewOrder(EventSchema):
    """Version 2: the note is gone, the total is text."""

    orderId = fields.String(required=True)
    total = fields.String()
    lines = fields.List(fields.Nested(BareLine), required=True)
    prices = fields.Dict(values=fields.Float())


class OrderForBilling(EventSchema):
    """What billing reads."""

    orderId = fields.String(required=True)
    total = fields.Integer()


OLD, NEW = (1, to_json_schema(Order)), (2, to_json_schema(NewOrder))


def effect(reads: Any = None, version: int | None = None, upcasters: Upcasters | None = None) -> tuple[Effect, str]:
    """What the change does to a group that reads this."""
    group = GroupContract(group="g", reads=None if reads is None else contract(reads), version=version)
    (found,) = impact("order.created", OLD, NEW, [group], conversions=upcasters)
    return found.effect, found.reason


@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        (OrderForBilling, Effect.BREAKS),
        (["lines[].note"], Effect.BREAKS),
        (["total"], Effect.AFFECTS),
        (["lines"], Effect.AFFECTS),
        (None, Effect.AFFECTS),
        (["orderId"], Effect.SAFE),
        (["orderId", "lines[].sku", "prices.*"], Effect.SAFE),
        (BareLine(only=()), Effect.SAFE),
    ],
)
def test_a_group_is_named_by_what_it_reads(reads: Any, expected: Effect) -> None:
    """A change breaks, may affect or leaves alone."""
    assert effect(reads)[0] is expected


def test_what_a_group_reads_and_is_gone_is_named() -> None:
    """Dropping an optional field is compatible, and still takes it from whoever came for it."""
    assert effect(["lines[].note"]) == (Effect.BREAKS, "reads lines[].note, which is gone")


def test_a_downcaster_keeps_a_group_safe() -> None:
    """Events are converted to the version that its handler reads."""
    upcasters = Upcasters()
    upcasters.downcaster("order.created", 2, 1)(lambda data: data)

    assert effect(["total"], version=1, upcasters=upcasters)[0] is Effect.SAFE


def test_a_group_whose_version_nothing_leads_to_breaks() -> None:
    """Its deliveries would wait for code that does not exist."""
    found, reason = effect(["orderId"], version=1)

    assert found is Effect.BREAKS
    assert "would be parked" in reason


def test_those_that_break_come_first() -> None:
    """Then by name."""
    groups = [
        GroupContract(group="safe", reads=contract(["orderId"])),
        GroupContract(group="b", reads=contract(OrderForBilling)),
        GroupContract(group="a", reads=contract(OrderForBilling)),
    ]

    found = impact("order.created", OLD, NEW, groups)

    assert [each.group for each in found] == ["a", "b", "safe"]
    assert found[0].problems


@pytest.mark.parametrize("path", ["", "a..b", ".a", "a."])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    """A typo would make a group look safe."""
    with pytest.raises(InvalidSchema):
        contract([path])


def test_paths_of_a_schema() -> None:
    """The innermost ones, through lists, dicts and references."""
    assert paths_of(OLD[1]) == ["lines[].note", "lines[].sku", "orderId", "prices.*", "total"]
    assert find(OLD[1], "lines[].sku") == {"type": "string"}
    assert find(OLD[1], "lines[].nothing") is None
