"""Wording: values as the message of an error shows them, readable whatever they are."""


def readable(path: str) -> str:
    """*path* for a message: keys may be of any length and hold any character."""
    text = path if path.isprintable() else repr(path)[1:-1]
    return text if len(text) <= 100 else f"{text[:60]}...{text[-37:]}"


def shown(value: object) -> str:
    """*value* for a message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
