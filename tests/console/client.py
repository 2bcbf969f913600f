"""A client that behaves like somebody's browser without JavaScript: keeps cookies, and sends forms with their hidden fields."""

import re
from html import unescape
from typing import Any

from starlette.testclient import TestClient

from tests.support.waiting import wait_until

FORM = re.compile(r"<form[^>]*method=\"post\"[^>]*action=\"([^\"]*)\"[^>]*>(.*?)</form>", re.DOTALL)
HIDDEN = re.compile(r"<input type=\"hidden\" name=\"([^\"]*)\" value=\"([^\"]*)\">")


class Client(TestClient):
    """As a browser on this machine."""

    def __init__(
        self, app: Any, *, address: str = "127.0.0.1", base_url: str = "http://127.0.0.1", **options: Any
    ) -> None:
        super().__init__(app, base_url=base_url, client=(address, 50_000), **options)

    def text(self, path: str, *, status: int = 200) -> str:
        """The text of a page, which must have that status."""
        answer = self.get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    def refusal(self, path: str) -> str:
        """The text of the page that refuses what *path* asks for. What is to be counted may be refused a moment later."""

        def refused() -> str:
            answer = self.get(path)
            return answer.text if answer.status_code == 400 else ""

        return wait_until(refused, message=f"{path} to be refused")

    def token(self, path: str) -> str:
        """What the forms of that page bring along."""
        found = re.search(r"name=\"token\" value=\"([^\"]*)\"", self.text(path))
        assert found, path
        return found[1]

    def press(self, path: str, action: str, **fields: Any) -> Any:
        """Send the form of the page at *path* that leads to *action*, with further *fields*; the answer, redirects followed."""
        return self.submit(self.text(path), action, **fields)

    def submit(self, text: str, action: str, **fields: Any) -> Any:
        """Send the form in *text* that leads to *action*."""
        for found, body in FORM.findall(text):
            if unescape(found) == action:
                hidden = {unescape(name): unescape(value) for name, value in HIDDEN.findall(body)}
                return self.post(action, data={**hidden, **fields})
        raise AssertionError(f"no form leads to {action}: {FORM.findall(text)}")
