"""A JSON Schema document that questions are asked about: references, validity, the draft it is written in."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jsonschema_rs

from eventbus.schemas.digits import DIGIT_KEYWORDS
from eventbus.schemas.lexical import FORMAT, KNOWN_FORMS, is_text_of
from eventbus.schemas.projection import resolve

_OWN_URI = "eventbus:document"

_VALIDATORS = {
    "draft-04": jsonschema_rs.Draft4Validator,
    "draft-06": jsonschema_rs.Draft6Validator,
    "draft-07": jsonschema_rs.Draft7Validator,
    "2019-09": jsonschema_rs.Draft201909Validator,
    "2020-12": jsonschema_rs.Draft202012Validator,
}

#: Keywords that only a newer draft than draft-07 knows.
_NEWER = (
    "prefixItems",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedProperties",
    "unevaluatedItems",
    "$anchor",
)


class Document:
    """One projection of a schema, with its references and its validators."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.text = json.dumps(root, sort_keys=True)
        self.draft = self._find_draft()
        self._validators: dict[str, Any] = {}

    def _find_draft(self) -> str:
        named = self.root.get("$schema") if isinstance(self.root, dict) else None
        known = [draft for draft in _VALIDATORS if isinstance(named, str) and draft in named]
        if known:
            return known[0]
        return "2020-12" if any(f'"{keyword}"' in self.text for keyword in _NEWER) else "draft-07"

    @property
    def reads_siblings_of_references(self) -> bool:
        """Whether keywords beside $ref count; up to draft-07 they do not."""
        return self.draft.startswith("20")

    def resolve(self, reference: Any) -> Any:
        """The schema a reference points to, None if it is not in this document or its base cannot be told."""
        if self.text.count('"$id"') > (1 if isinstance(self.root, dict) and "$id" in self.root else 0):
            return None
        return resolve(self.root, reference)

    def accepts(self, node: Any, value: Any) -> bool:
        """Whether *value* is valid against *node*, a schema whose references are into this document."""
        return bool(self.validator_of(node).is_valid(value))

    def errors(self, value: Any) -> Iterator[tuple[list[str | int], str]]:
        """Where and why *value* is not valid against the whole document."""
        for error in self.validator_of(self.root).iter_errors(value):
            path, kind = list(error.instance_path), error.kind
            if kind.name == "required":
                yield [*path, kind.property], "Missing data for required field."
            elif kind.name == "additionalProperties":
                yield from (([*path, key], "Unknown field.") for key in kind.unexpected)
            else:
                yield path, error.message

    def validator_of(self, node: Any) -> Any:
        key = self.text if node is self.root else json.dumps(node, sort_keys=True)
        if key not in self._validators:
            self._validators[key] = self._validator(node)
        return self._validators[key]

    def _validator(self, node: Any) -> Any:
        root = _absolute(self.root) if isinstance(self.root, dict) else {}
        registry = jsonschema_rs.Registry([(_OWN_URI, root)], draft=_DRAFTS[self.draft])
        checks: dict[str, Callable[..., bool]] = {form: partial(is_text_of, form) for form in KNOWN_FORMS}
        return _VALIDATORS[self.draft](
            _absolute(node),
            validate_formats=True,
            formats=checks,
            keywords=DIGIT_KEYWORDS,
            registry=registry,
            offline=True,
        )


_DRAFTS = {
    "draft-04": jsonschema_rs.Draft4,
    "draft-06": jsonschema_rs.Draft6,
    "draft-07": jsonschema_rs.Draft7,
    "2019-09": jsonschema_rs.Draft201909,
    "2020-12": jsonschema_rs.Draft202012,
}


def _absolute(node: Any) -> Any:
    """*node* with its references made to point into the document from outside it."""
    if isinstance(node, list):
        return [_absolute(each) for each in node]
    if not isinstance(node, dict):
        return node
    told = {key: _reference(key, value) for key, value in node.items() if key != "$id"}
    return {**told, "format": node[FORMAT]} if FORMAT in node and "format" not in node else told


def _reference(key: str, value: Any) -> Any:
    if key == "$ref" and isinstance(value, str) and value.startswith("#"):
        return _OWN_URI + value
    return value if key in ("enum", "const", "default", "examples") else _absolute(value)
