"""Which SQL ends a transaction: what a handler may not send, whatever stands before it in the same text.

text ─▶ none of the words? ─▶ no
    └─▶ without comments and quoted parts ─▶ split at ';' ─▶ does one begin with such a word?
"""

import re

_WORDS = re.compile(r"\b(?:commit|end|rollback|abort|prepare)\b", re.IGNORECASE)
_ENDS = re.compile(r"\s*(?:commit|end|rollback(?!\s+to\b)|abort|prepare\s+transaction)\b", re.IGNORECASE)
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
    if _WORDS.search(sql) is None:
        return False
    bare = _without_hidden(sql)
    return any(_ENDS.match(part) for part in ([bare] if _BODY.search(bare) else bare.split(";")))


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
