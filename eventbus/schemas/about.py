"""What is said of a version of an event type, beside its form: by whom, what for, and how strictly its successors are checked."""

from dataclasses import dataclass

from eventbus.errors import InvalidSchema
from eventbus.schemas.json_values import to_json
from eventbus.schemas.refusal import DataRefused
from eventbus.schemas.versions import Mode


@dataclass(frozen=True, kw_only=True)
class About:
    """Words and policy of one version; what is None is left as the registry has it."""

    #: What a new version is checked against; None for that of the version before, at first FULL_TRANSITIVE.
    compatibility: Mode | None = None
    #: Who answers questions about it.
    owner: str | None = None
    description: str | None = None
    #: Why it should not be published any more.
    deprecation: str | None = None
    #: What changed against the version before.
    changelog: str | None = None


def refuse_unstorable(type: str, **words: object) -> None:
    """Make sure that what is said of a version of *type* is text that the registry can keep, or None.

    Raises:
        InvalidSchema: It is not.
    """
    for name, said in words.items():
        if said is not None and not isinstance(said, str):
            raise InvalidSchema(type, f"{name}={said!r:.60} must be text.")
        try:
            to_json(said)
        except DataRefused as error:
            raise InvalidSchema(type, f"{name}: {' '.join(error.errors[''])}") from error
