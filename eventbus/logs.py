"""Log lines: the facts that our records carry in ``extra`` are shown behind the message, as ``key=value``."""

import logging

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "data", "taskName"}


class FactsFormatter(logging.Formatter):
    """Formats as *inner* does, and adds the facts to records of eventbus."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """The line for *record*; other libraries' records are left as they are."""
        if not record.name.startswith("eventbus."):
            return self._inner.format(record)
        facts = [f"{name}={value}" for name, value in vars(record).items() if name not in _STANDARD]
        if not facts:
            return self._inner.format(record)
        shown = logging.makeLogRecord({**vars(record), "msg": f"{record.getMessage()} {' '.join(facts)}", "args": ()})
        return self._inner.format(shown)
