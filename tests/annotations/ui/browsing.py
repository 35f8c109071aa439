"""A real browser, and a tab of it on the page."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

REQUIRED = "CRAYON_REQUIRE_TOOLS"
"""Set where a missing browser is a failure."""

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@contextmanager
def launched() -> Iterator:
    """Debian's chromium, driven by Playwright; skips the test if it is missing and need not be there."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        _lacking("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _lacking("playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS), headless=True)
        yield browser
        browser.close()


LEVELS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
"""The rules of axe-core that are checked."""


def audited(tab: Tab) -> list[str]:
    """The violations that axe-core finds on the screen, a line each; skips the test if axe-core need not be there."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        _lacking("axe-playwright-python")
    found = Axe().run(tab.page, options={"runOnly": list(LEVELS), "resultTypes": ["violations"]}).response
    assert found["passes"]
    return [
        f"{rule['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def _lacking(what: str) -> NoReturn:
    if os.environ.get(REQUIRED):
        pytest.fail(f"{what} is missing, and {REQUIRED} is set")
    pytest.skip(f"{what} is missing")


class Tab:
    """A tab with the page, in a browser with empty storage."""

    def __init__(self, browser, link: str, **options) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        self.open(link)

    def open(self, link: str) -> None:
        self.faults: list[str] = []
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.faults.append(request.url) if self.foreign(request) else None)
        self.host = link.split("/")[2]
        self.page.goto(link)

    def foreign(self, request) -> bool:
        return not request.url.startswith((f"http://{self.host}/", "blob:"))

    def see(self, screen: str) -> None:
        self.page.locator(f"#{screen}").wait_for()

    def begin(self) -> None:
        self.see("guide")
        self.press("Enter")
        self.see("ask")

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def wait(self) -> None:
        """Wait until the item has been on screen long enough for an answer."""
        self.page.locator("#answers:not([data-wait])").wait_for()

    def saved(self) -> None:
        """Wait until no answer is being saved."""
        self.page.locator("#answers:not([data-saving])").wait_for(state="attached")

    def text(self, name: str) -> str:
        return self.page.locator(f"#{name}").inner_text()

    def hears(self, words: str) -> None:
        """Wait until the text for screen readers contains these words."""
        self.page.locator("#status").filter(has_text=re.compile(re.escape(words))).wait_for(state="attached")

    def answer(self, key: str, number: int, of: int = 30) -> None:
        """Press a key, and wait for item `number` (from 1), or for the end."""
        self.wait()
        self.press(key)
        if number > of:
            self.see("done")
        else:
            self.hears(f"Item {number} of")
            self.saved()

    def close(self) -> None:
        assert not self.faults, self.faults
        self.context.close()
