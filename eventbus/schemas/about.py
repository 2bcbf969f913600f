"""What is said of a version of an event type, beside its form: by whom, what for, and how strictly its successors are checked."""

from dataclasses import dataclass

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
