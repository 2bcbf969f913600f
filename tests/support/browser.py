"""The system's Chromium, and what a page must never do while a test looks at it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Request, sync_playwright

from tests.support.requirements import CHROMIUMS

_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@contextmanager
def browser_page(profile: Path) -> Iterator[Page]:
    """An empty page in the system's Chromium, with a profile of its own."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=_program(), headless=True, args=_FLAGS
        )
        try:
            yield context.pages[0]
        finally:
            context.close()


@contextmanager
def running_browser() -> Iterator[Browser]:
    """The system's Chromium, for contexts that share nothing."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), headless=True, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Complaints:
    """What a page did that it must not: errors in its console, and requests to anybody but *origin*."""

    origin: str
    #: What a test causes on purpose: parts of such texts.
    expected: list[str] = field(default_factory=list)
    _found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Listen to *page* from now on."""
        page.on("console", lambda message: self._note(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("request", self._look)

    @property
    def found(self) -> list[str]:
        """All that was not expected."""
        return [text for text in self._found if not any(part in text for part in self.expected)]

    def _look(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if f"{parts.scheme}://{parts.netloc}" != self.origin and parts.scheme not in ("data", "blob"):
            self._note(f"asks {request.url}")

    def _note(self, text: str) -> None:
        self._found.append(text)


def _program() -> str:
    [program, *_] = filter(None, map(shutil.which, CHROMIUMS))
    return program
