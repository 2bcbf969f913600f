"""Refusal: data that does not fit a schema, within the schema library; `publish` makes an InvalidEvent of it.

The errors of versions and their steps are in `eventbus.errors`, and are passed on here for those who work with schemas alone.
"""

from collections.abc import Mapping, Sequence

from eventbus.errors import (
    IncompatibleSchema as IncompatibleSchema,
)
from eventbus.errors import (
    InvalidUpcast as InvalidUpcast,
)
from eventbus.errors import (
    SchemaEditedInPlace as SchemaEditedInPlace,
)
from eventbus.errors import (
    SchemaNotRegistered as SchemaNotRegistered,
)
from eventbus.errors import (
    SchemaRetired as SchemaRetired,
)
from eventbus.errors import (
    UnreachableVersion as UnreachableVersion,
)
from eventbus.errors import (
    UpcasterConflict as UpcasterConflict,
)


class DataRefused(ValueError):
    """The data does not fit a schema.

    Attributes:
        errors: Messages by wire path (``lines[2].sku``); the empty path is the event as a whole.
    """

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        self.errors = {path: list(messages) for path, messages in errors.items()}
        super().__init__(" ".join(f"{path or 'event'}: {' '.join(m)}" for path, m in self.errors.items()))
