"""Tracebacks on a page: the handler's own frames first, and nothing lost."""

import json

from eventbus.console.tracebacks import read_traceback

TEXT = f"""Traceback (most recent call last):
  File "/srv/shop/handlers.py", line 12, in on_created
    reserve(event.data)
    ~~~~~~~^^^^^^^^^^^^
  File "/srv/shop/stock.py", line 7, in reserve
    json.loads("<script>")
  File "{json.__file__}", line 346, in loads
    return _default_decoder.decode(s)
  File "/venv/lib/python3.13/site-packages/requests/api.py", line 1, in get
ValueError: no
"""


def test_own_frames_come_first_the_innermost_on_top() -> None:
    """Python's own and those of libraries stand apart."""
    found = read_traceback(TEXT)

    assert [(frame.file, frame.line, frame.function) for frame in found.own] == [
        ("/srv/shop/stock.py", 7, "reserve"),
        ("/srv/shop/handlers.py", 12, "on_created"),
    ]
    assert found.own[1].code == "reserve(event.data)\n~~~~~~~^^^^^^^^^^^^"
    assert [frame.function for frame in found.others] == ["get", "loads"]
    assert found.text == TEXT


def test_what_is_no_traceback_is_kept_as_it_is() -> None:
    """A death has none."""
    found = read_traceback("eventbus.errors.HandlerDied: killed")

    assert (found.own, found.others) == ([], [])
    assert found.text == "eventbus.errors.HandlerDied: killed"
