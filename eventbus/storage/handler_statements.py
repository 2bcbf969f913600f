"""What a handler's statement does beside its work: end its transaction, which is refused, or change its connection for the next.

text ─▶ none of the words? ─▶ neither
    └─▶ without comments and quoted parts ─▶ split at ';' ─▶ how does each begin?
"""

import re

_WORDS = re.compile(
    r"\b(?:commit|end|rollback|abort|prepare|set|reset|listen|unlisten|discard|temp|temporary|hold|set_config|pg_\w*advisory_lock\w*)\b",
    re.IGNORECASE,
)
_ENDS = re.compile(r"\s*(?:commit|end|rollback(?!\s+to\b)|abort|prepare\s+transaction)\b", re.IGNORECASE)
#: What outlives the transaction, at the start of a statement and anywhere in it.
_LASTS = re.compile(
    r"\s*(?:set(?!\s+(?:local|transaction|constraints)\b)|reset|listen|unlisten|discard|create\s+(?:(?:local|global)\s+)?temp)",
    re.IGNORECASE,
)
_LASTS_WITHIN = re.compile(
    r"\bset_config\s*\(|\bpg_(?:try_)?advisory_lock|\binto\s+(?:(?:local|global)\s+)?temp|\bwith\s+hold\b",
    re.IGNORECASE,
)
#: What hides words and semicolons: texts (E'' with its backslashes), names, texts between dollars; and comments, which may nest.
_HIDING = re.compile(
    r"""(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*' | '[^']*' | "[^"]*" | (?<![\w$])\$(\w*)\$.*?\$\1\$ | --[^\n]* | /\*""",
    re.DOTALL | re.VERBOSE,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
#: The body of an SQL function has statements of its own, the last of which is END.
_BODY = re.compile(r"\bbegin\s+atomic\b", re.IGNORECASE)


def ends_transaction(sql: str) -> bool:
    """Whether a statement of *sql* commits or rolls back; a rollback to a savepoint does not."""
    return any(_ENDS.match(part) for part in _parts(sql))


def changes_session(sql: str) -> bool:
    """Whether *sql* does something to its connection that lasts longer than its transaction, such as a SET without LOCAL."""
    return any(_LASTS.match(part) or _LASTS_WITHIN.search(part) for part in _parts(sql))


def _parts(sql: str) -> list[str]:
    """The statements of *sql*, without what hides words; none where no word is that would tell."""
    if _WORDS.search(sql) is None:
        return []
    bare = _without_hidden(sql)
    return [bare] if _BODY.search(bare) else bare.split(";")


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
