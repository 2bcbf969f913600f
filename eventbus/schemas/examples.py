"""An example of an event, for documentation: valid, and as full as the schema allows."""

import json
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from eventbus.schemas.documents import Document
from eventbus.schemas.projection import writer_projection
from eventbus.schemas.samples import Samples


def example(json_schema: Mapping[str, Any]) -> tuple[Any] | None:
    """An event that its writer can emit, in a tuple, or None if none was found.

    An example of the schema's own (``examples``) goes first, if it is valid.
    """
    document = Document(writer_projection(dict(json_schema)))
    try:
        own = [each for each in json_schema.get("examples", ()) if document.accepts(document.root, each)]
        found = own[:1] or sorted(Samples(document).of(document.root), key=lambda each: len(json.dumps(each)))
    # A pattern that no validator knows, or an object that must hold one of its own kind.
    except (jsonschema_rs.ValidationError, RecursionError):
        return None
    return (found[-1],) if found else None
