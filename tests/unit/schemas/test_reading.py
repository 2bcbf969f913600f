"""The tolerant reader."""

import pytest
from marshmallow import Schema, fields

from eventbus.schemas.reading import prune, read
from eventbus.schemas.refusal import DataRefused


class Inner(Schema):
    """One known key."""

    x = fields.Integer(strict=True)


class Tree(Schema):
    """Refers to itself."""

    value = fields.Integer()
    child = fields.Nested(lambda: Tree())


class Outer(Schema):
    """Every place where a schema can be."""

    one = fields.Nested(Inner)
    listed = fields.List(fields.Nested(Inner))
    many = fields.Nested(Inner, many=True)
    mapped = fields.Dict(values=fields.Nested(Inner))
    pair = fields.Tuple((fields.Nested(Inner), fields.Integer()))
    tree = fields.Nested(Tree)


EXTRA = {"x": 1, "y": 2}


def test_unknown_keys_are_pruned_at_any_depth() -> None:
    """Also in lists, dicts, tuples and recursive schemas; the rest loads."""
    data = {
        "one": EXTRA,
        "listed": [EXTRA, EXTRA],
        "many": [EXTRA],
        "mapped": {"a": EXTRA, "b": EXTRA},
        "pair": [EXTRA, 1],
        "tree": {"value": 1, "child": {"value": 2, "note": "?", "child": {"value": 3, "note": "?"}}},
        "extra": 1,
    }

    pruned = prune(Outer(), data)

    assert pruned.paths == (
        "extra",
        "listed[].y",
        "many[].y",
        "mapped.*.y",
        "one.y",
        "pair[].y",
        "tree.child.child.note",
        "tree.child.note",
    )
    assert "listed[1].y" in pruned.exact
    assert "mapped.b.y" in pruned.exact
    assert read(Outer(), data)["tree"] == {"value": 1, "child": {"value": 2, "child": {"value": 3}}}


def test_the_data_stays_as_it_is() -> None:
    """The event that is read is not changed by reading it."""
    data = {"one": {"x": 1, "y": 2}}

    prune(Outer(), data)

    assert data == {"one": {"x": 1, "y": 2}}


def test_whole_numbers_load_as_integers() -> None:
    """1.0 is 1 to a strict integer, also in what was stored long ago."""
    assert read(Outer(), {"one": {"x": 1.0}}) == {"one": {"x": 1}}


@pytest.mark.parametrize("data", [None, [], 5, {"one": 5}, {"listed": {}}, {"mapped": []}, {"pair": [1, 2, 3]}])
def test_what_does_not_load_is_an_invalid_event(data: object) -> None:
    """Pruning leaves alone what it does not understand; loading refuses it."""
    with pytest.raises(DataRefused):
        read(Outer(), data)
