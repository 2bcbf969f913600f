"""Refusal: data that does not fit a schema, within the schema library; `publish` makes an InvalidEvent of it."""

from collections.abc import Mapping, Sequence


class DataRefused(ValueError):
    """The data does not fit a schema.

    Attributes:
        errors: Messages by wire path (``lines[2].sku``); the empty path is the event as a whole.
    """

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        self.errors = {path: list(messages) for path, messages in errors.items()}
        super().__init__(" ".join(f"{path or 'event'}: {' '.join(m)}" for path, m in self.errors.items()))
