"""The two faces of one JSON Schema: what its writer can emit, and what its reader takes.

The writer is closed: publish refuses what the schema does not name. The reader is open: what it does not name is
pruned before it loads. So adding and dropping an optional field is compatible both ways.

For schemas that were not made here:

    additionalProperties left out   closed when written where properties are named: nobody decided that it be open
    additionalProperties: true      open, also when written: somebody said so
    additionalProperties: false     pruned, not refused, when read

Neither face is touched where alternatives decide between shapes (oneOf, not, if, ...): closing or opening an object
there would change which alternative applies. A choice between different JSON types, such as "this or null", is no
such place.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from eventbus.schemas.fingerprints import TEXT_KEYWORDS
from eventbus.schemas.lexical import FORMAT

#: Marks an object of a reader that leaves out what it does not name.
PRUNES = "x-eventbus-prunes"

#: Keywords under which another place of the payload is described.
_PLACES = ("additionalProperties", "items", "additionalItems")
_PLACES_LISTED = ("items", "prefixItems")
_PLACES_NAMED = ("properties", "patternProperties")

#: Where a schema under one of these decides whether another one applies.
_DECIDERS = (
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "dependencies",
    "dependentSchemas",
    "unevaluatedItems",
)

#: Beside one of these a key that nobody names can decide whether an object is valid, so it cannot be pruned unseen.
_WATCHERS = frozenset(
    [
        "minProperties",
        "maxProperties",
        "propertyNames",
        "unevaluatedProperties",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
    ]
)


def writer_projection(schema: Any) -> Any:
    """What a writer of *schema* can emit."""
    document = deepcopy(schema)
    for node in list(plain_nodes(document)):
        _close(node)
    return document


def reader_projection(schema: Any) -> Any:
    """What a reader of *schema* takes, unknown keys pruned; numbers that marshmallow also reads from text included."""
    document = deepcopy(schema)
    for node in list(plain_nodes(document)):
        _open(node)
        _widen(node)
    return document


def exact_projection(schema: Any) -> Any:
    """What a reader of *schema* takes, unknown keys pruned, as its writer would have written the rest.

    A number in text may be refused by a validator that looks at the number, so whoever must be sure asks this one.
    """
    document = deepcopy(schema)
    for node in list(plain_nodes(document)):
        _open(node)
    return document


def plain_nodes(document: Any) -> Iterator[dict[str, Any]]:
    """The nodes that stand for a place of the payload, not for a condition on one; each once."""
    decided: set[int] = set()
    _visit(document, document, decided, plain=True, seen=set())
    nodes: dict[int, dict[str, Any]] = {}
    _collect(document, document, nodes)
    yield from (node for key, node in nodes.items() if key not in decided)


def _collect(node: Any, document: Any, nodes: dict[int, dict[str, Any]]) -> None:
    if not isinstance(node, dict) or id(node) in nodes:
        return
    nodes[id(node)] = node
    for child in (*_places(node), *_same_place(node, document)):
        _collect(child, document, nodes)


def _visit(node: Any, document: Any, decided: set[int], *, plain: bool, seen: set[tuple[int, bool]]) -> None:
    """Put into *decided* every node that some condition can reach."""
    if not isinstance(node, dict) or (id(node), plain) in seen:
        return
    seen.add((id(node), plain))
    if not plain:
        decided.add(id(node))
    for child in (*_places(node), *_same_place(node, document)):
        _visit(child, document, decided, plain=plain, seen=seen)
    for child in _conditions(node, document):
        _visit(child, document, decided, plain=False, seen=seen)


def _places(node: dict[str, Any]) -> Iterator[Any]:
    for key in _PLACES:
        yield node.get(key)
    for key in _PLACES_LISTED:
        if isinstance(node.get(key), list):
            yield from node[key]
    for key in _PLACES_NAMED:
        if isinstance(node.get(key), dict):
            yield from node[key].values()


def _same_place(node: dict[str, Any], document: Any) -> Iterator[Any]:
    """Schemas that say all there is to say about the very place of *node*."""
    yield resolve(document, node.get("$ref"))
    for key in ("anyOf", "oneOf"):
        if _is_choice_of_types(node, key, document):
            yield from node[key]
    if isinstance(node.get("allOf"), list) and len(_objects(node["allOf"], document)) == 1 and "properties" not in node:
        yield from node["allOf"]


def _conditions(node: dict[str, Any], document: Any) -> Iterator[Any]:
    same = [id(each) for each in _same_place(node, document)]
    for key, value in node.items():
        if key in ("allOf", "anyOf", "oneOf") and isinstance(value, list):
            yield from (each for each in value if id(each) not in same)
            if key != "allOf" and value and not _is_choice_of_types(node, key, document):
                yield node
        elif key in _DECIDERS:
            yield from value.values() if isinstance(value, dict) and key.startswith("depend") else [value]
    if len(_objects(node.get("allOf"), document)) > 1 or (
        _objects(node.get("allOf"), document) and "properties" in node
    ):
        yield node


def _objects(branches: Any, document: Any) -> list[Any]:
    """Those branches that say something about keys of objects."""
    targets = [_target(each, document) for each in branches] if isinstance(branches, list) else []
    told = {"properties", "additionalProperties", "patternProperties", "anyOf", "oneOf", "allOf", "not", "if"}
    return [each for each in targets if isinstance(each, dict) and told & set(each)]


def _is_choice_of_types(node: dict[str, Any], key: str, document: Any) -> bool:
    branches = node.get(key)
    if not isinstance(branches, list) or "properties" in node:
        return False
    kinds = [_types(_target(each, document)) for each in branches]
    known = [kind for kind in kinds if kind is not None]
    return len(known) == len(kinds) and sum(map(len, known)) == len(set().union(*known))


def _types(node: Any) -> set[str] | None:
    kind = node.get("type") if isinstance(node, dict) else None
    kinds = [kind] if isinstance(kind, str) else kind
    if not isinstance(kinds, list) or not all(isinstance(each, str) for each in kinds):
        return None
    return {"number" if each == "integer" else each for each in kinds}


def _target(node: Any, document: Any) -> Any:
    for _ in range(20):
        if not isinstance(node, dict) or "$ref" not in node:
            break
        node = resolve(document, node["$ref"])
    return node


def resolve(document: Any, reference: Any) -> Any:
    """The schema a reference inside *document* points to; None if it points elsewhere or nowhere."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    node = document
    for escaped in reference.split("/")[1:]:
        step = escaped.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list) and step.isdecimal() and int(step) < len(node):
            node = node[int(step)]
        else:
            return None
    return node


def _close(node: dict[str, Any]) -> None:
    if isinstance(node.get("properties"), dict):
        names = [name for name, each in node["properties"].items() if _is_load_only(each)]
        for name in names:
            del node["properties"][name]
        if not {"additionalProperties", "unevaluatedProperties"} & set(node) and not _composed(node):
            node["additionalProperties"] = False


def _composed(node: dict[str, Any]) -> bool:
    return bool(set(node) & {"allOf", "anyOf", "oneOf", "if", "$ref", "dependencies", "dependentSchemas"})


def _is_load_only(node: Any) -> bool:
    return isinstance(node, dict) and node.get("x-eventbus-load-only") is True


def _open(node: dict[str, Any]) -> None:
    if node.get("additionalProperties") is False and not set(node) & _WATCHERS:
        del node["additionalProperties"]
        node[PRUNES] = True
    defaults = node.pop("x-eventbus-defaults", None)
    if isinstance(defaults, list) and isinstance(node.get("required"), list):
        node["required"] = [name for name in node["required"] if name not in defaults]


def _widen(node: dict[str, Any]) -> None:
    """Let *node* also take the other JSON types from which marshmallow reads this number without loss."""
    bounds = {key: node[f"x-eventbus-{key}"] for key in _BOUNDS if f"x-eventbus-{key}" in node}
    form = node.get(FORMAT)
    if form == "decimal" and "x-eventbus-places" in node:
        limits = {"minimum": -_most(node), "maximum": _most(node)}
        _add_alternative(node, {"type": "integer", "x-eventbus-lenient": True, "allOf": [limits]}, bounds)
    elif form in {"decimal", "float"}:
        _add_alternative(node, {"type": "number"}, bounds)
    elif form == "integer":
        _add_alternative(node, {"type": "integer", "x-eventbus-lenient": True}, bounds)
    elif node.get("x-eventbus-lenient") is True:
        text = {f"x-eventbus-{key}": node[key] for key in _BOUNDS if key in node}
        _add_alternative(node, {"type": "string", FORMAT: "integer", "pattern": "^-?[0-9]+$"}, text)


_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def _most(node: dict[str, Any]) -> int:
    """Decimal arithmetic has 28 digits; with fixed places the rest is left of the point."""
    return int(10 ** max(28 - int(node["x-eventbus-places"]), 1)) - 1


def _add_alternative(node: dict[str, Any], other: dict[str, Any], bounds: dict[str, Any]) -> None:
    if set(node) & {"enum", "const", "anyOf", "oneOf", "$ref"} or node.get("allOf") or "x-eventbus-opaque" in node:
        return
    words = {key: node[key] for key in TEXT_KEYWORDS if key in node}
    own = {key: value for key, value in node.items() if key not in words}
    node.clear()
    node.update({**words, "anyOf": [own, {**other, **bounds}]})
