"""What a handler's statement does beside its work: end its transaction, which is refused, or change its connection for the next.

text ─▶ none of the words? ─▶ neither
    └─▶ without comments and quoted parts ─▶ split at ';' ─▶ how does each begin?
"""

import re
from typing import NamedTuple

_WORDS = re.compile(
    r"\b(?:commit|end|rollback|abort|prepare|set|reset|listen|unlisten|discard|temp|temporary|pg_temp|hold|set_config|"
    r"pg_\w*advisory_lock\w*)\b",
    re.IGNORECASE,
)
_ENDS = re.compile(
    r"\s*(?:commit|end|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b)|abort|prepare\s+transaction)\b", re.IGNORECASE
)
#: What outlives the transaction, at the start of a statement and anywhere in it.
_LASTS = re.compile(
    r"\s*(?:set(?!\s+(?:local|transaction|constraints)\b)|reset(?!\s+role\b)|listen|unlisten|discard|"
    r"prepare\s+(?!transaction\b)|create\s+(?:or\s+replace\s+)?(?:(?:local|global)\s+)?temp(?!.*\bon\s+commit\s+drop\b))",
    re.IGNORECASE | re.DOTALL,
)
_LASTS_WITHIN = re.compile(
    r"\bset_config\s*\((?![^()]*,\s*true\s*\))|\bpg_(?:try_)?advisory_lock|\bpg_temp\s*\.|"
    r"\binto\s+(?:(?:local|global)\s+)?temp|\bwith\s+hold\b(?!\s+as\b)",
    re.IGNORECASE,
)
#: What hides words and semicolons: texts (E'' with its backslashes), names, texts between dollars, the driver's parameters; and
#: comments, which may nest.
_HIDING = re.compile(
    r"""(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*' | '[^']*' | "[^"]*" | (?<![\w$])\$((?:[A-Za-z_]\w*)?)\$.*?\$\1\$ |
        %\(\w+\)s | --[^\n]* | /\*""",
    re.DOTALL | re.VERBOSE,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
#: The body of an SQL function has statements of its own, and its own END.
_BODY = re.compile(r"\bbegin\s+atomic\b", re.IGNORECASE)


class Reach(NamedTuple):
    """How far a statement reaches beyond its work."""

    #: It commits or rolls back; a rollback to a savepoint does not.
    ends_transaction: bool = False
    #: What it does to its connection outlives its transaction, as a SET without LOCAL does; what functions set is not seen.
    changes_session: bool = False


_NO_REACH = Reach()


def reach_of(sql: str) -> Reach:
    """What *sql*, one statement or several, does beside its work."""
    if _WORDS.search(sql) is None:
        return _NO_REACH
    bare = _without_hidden(sql)
    parts = bare.split(";")
    ends = [part for part in parts if _ENDS.match(part)]
    if _BODY.search(bare):
        ends = [part for part in ends if not part.lstrip().lower().startswith("end")]
    changes = any(_LASTS.match(part) or _LASTS_WITHIN.search(part) for part in parts)
    return Reach(ends_transaction=bool(ends), changes_session=changes)


def _without_hidden(sql: str) -> str:
    """*sql* with a space in the place of each comment and each quoted part."""
    parts, at = [], 0
    while (found := _HIDING.search(sql, at)) is not None:
        parts.append(sql[at : found.start()])
        at = _comment_end(sql, found.end()) if found[0] == "/*" else found.end()
    return " ".join([*parts, sql[at:]])


def _comment_end(sql: str, at: int) -> int:
    """Where the comment ends in which *at* is."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(sql, at)) is not None:
        depth += 1 if edge[0] == "/*" else -1
        at = edge.end()
    return len(sql) if depth else at
