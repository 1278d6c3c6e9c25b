"""Chromium as the person. A test fails on what a person with open developer tools would be alarmed by."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.servers.process import PartMissing

PATIENCE = 60_000  # milliseconds: it costs nothing where all is well, and a busy machine is no fault
expect.set_options(timeout=PATIENCE)
CHROMIUM = Path("/usr/bin/chromium-headless-shell")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No other host is reached. Playwright could refuse requests as well, but then keeps nothing in the browser's cache.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
AXE = Path(__file__).resolve().parents[1] / "vendor" / "axe.min.js"
REPORT_CSP = """
document.addEventListener('securitypolicyviolation', (event) => {
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""
# Nobody acts on a page whose scripts are not there yet; who does, in a test of just that, calls ``hurry``.
WAIT_FOR_SCRIPTS = """
if (window === window.top) {
  const hidden = new CSSStyleSheet();
  hidden.replaceSync('html { visibility: hidden }');
  document.adoptedStyleSheets = [hidden];
  window.addEventListener('load', () => { document.adoptedStyleSheets = []; });
}
"""


class Browser:
    """One Chromium for a test run; ``person()`` is somebody with cookies of their own."""

    def __init__(self) -> None:
        if not CHROMIUM.exists():
            raise PartMissing("Chromium is not installed (chromium-headless-shell)")
        self._playwright = sync_playwright().start()
        self._chromium = self._playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)

    def person(
        self, url: str, *, width: int = 1440, height: int = 900, dark: bool = False, any_certificate: bool = False
    ) -> "Person":
        """Return somebody who looks at the site at ``url``, on a screen of this size, light or dark."""
        context = self._chromium.new_context(
            base_url=url,
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            locale="en-GB",
            timezone_id="UTC",
            reduced_motion="reduce",
            ignore_https_errors=any_certificate,
        )
        context.set_default_timeout(PATIENCE)
        return Person(context, url)

    def close(self) -> None:
        """End Chromium."""
        self._chromium.close()
        self._playwright.stop()


class Person:
    """A window and what went wrong in it: console errors, CSP reports, script errors, requests to another host."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context, self.url = context, url
        self.problems: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        self._home = urlsplit(url).netloc
        context.add_init_script(REPORT_CSP)
        context.add_init_script(WAIT_FOR_SCRIPTS)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.problems.append(f"script error: {error.error}"))
        context.on("request", self._requested)
        self.page: Page = context.new_page()

    def expect(self, pattern: str) -> None:
        """Name a problem that this test provokes, such as ``status of 403``."""
        self._expected.append(re.compile(pattern))

    def hurry(self) -> None:
        """Act on the page that comes next before its scripts are there."""
        self.page.add_init_script("document.adoptedStyleSheets = []")

    def check(self) -> None:
        """Raise an AssertionError that lists every problem nobody expected."""
        found = [text for text in self.problems if not any(pattern.search(text) for pattern in self._expected)]
        assert not found, "the browser complains:\n" + "\n".join(dict.fromkeys(found))

    def axe(self, impacts: tuple[str, ...] = ("serious", "critical")) -> list[str]:
        """Return what axe-core finds on the page, one line each; by default what is serious or critical."""
        self.page.evaluate(AXE.read_text())
        found: list[dict[str, Any]] = self.page.evaluate(
            "() => axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations)"
        )
        return [
            f"{rule['impact']}: {rule['id']}: {rule['help']}: {node['html'][:160]}"
            for rule in found
            if rule["impact"] in impacts
            for node in rule["nodes"]
        ]

    def scrolls_sideways(self) -> bool:
        """Return whether the page is wider than the window."""
        wider: bool = self.page.evaluate(
            "() => document.scrollingElement.scrollWidth > document.scrollingElement.clientWidth"
        )
        return wider

    def close(self) -> None:
        """Close the window."""
        self.context.close()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"{message.text} ({message.location.get('url', '')})")

    def _requested(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self._home:
            self.problems.append(f"request to another host: {request.url}")
