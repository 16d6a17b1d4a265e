"""A real Chromium for the tests, and what a page did that it should not have done."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Playwright, Request

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = "" if CHROMIUM else "Chromium is not installed: apt-get install chromium"
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 10_000
"""Milliseconds that something may take to be seen."""
WATCH_POLICY = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
AWAY = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE_CHUNKED_ENCODING", "status of 503")
"""What the browser says by itself where a broker is away, or starts."""


def launch(playwright: Playwright) -> Browser:
    """Start it."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))


class Person:
    """Somebody before the console of the broker at an address."""

    def __init__(
        self,
        browser: Browser,
        address: str,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        password: tuple[str, str] | None = None,
    ) -> None:
        self.home = f"http://{address}/"
        self.complaints: list[str] = []
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            http_credentials=None if password is None else {"username": password[0], "password": password[1]},
        )
        self.context.set_default_timeout(PATIENCE)
        self.page: Page = self.context.new_page()
        self.page.add_init_script(WATCH_POLICY)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.home, "data:")):
            self.complaints.append(f"a request to {request.url}")

    def open(self, address: str = "") -> Page:
        """Open a part of the console by what stands after `#`, and wait until it is live."""
        self.page.goto(f"{self.home}#{address}" if address else self.home)
        self.page.locator("#link-state[data-state=live]").wait_for()
        return self.page

    def sees(self, selector: str, text: str, timeout: float = PATIENCE) -> Locator:
        """Wait until an element that the selector finds has the text."""
        found = self.page.locator(selector).filter(has_text=text).first
        found.wait_for(timeout=timeout)
        return found

    def waits(self, condition: str, argument: Any = None, timeout: float = PATIENCE) -> None:
        """Wait until JavaScript is true. The page's own policy allows no strings as code: it is evaluated from outside."""
        self.page.wait_for_function(condition, arg=argument, timeout=timeout)

    def shoot(self, folder: Path, name: str, *, whole: bool = True) -> None:
        """Write a picture of the page, or of what is in the window."""
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"{name}.png", full_page=whole)

    def check(self, allowed: Callable[[str], bool] = lambda _: False) -> None:
        """Fail where the page did what it should not."""
        violations = self.page.evaluate("window.violations")
        complaints = [complaint for complaint in self.complaints if not allowed(complaint)]
        assert not violations, f"the page broke its content security policy: {violations}"
        assert not complaints, f"the browser complained: {complaints}"

    def leave(self) -> None:
        self.context.close()


def while_away(complaint: str) -> bool:
    """Whether the browser only says that the broker is away."""
    return any(word in complaint for word in AWAY)
