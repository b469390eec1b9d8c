"""Opening pages like a visitor, and waiting until they are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.waiting import wait_for

Scheme = Literal["light", "dark"]
WIDE, NARROW = 1440, 390
MINUTE = 60_000
# Websocket messages show when a script run has ended: the state in the page misses fast changes. An
# empty status (field 9, no bytes) means that nothing runs.
WATCH_RUNS = """() => {
    const send = WebSocket.prototype.send, watched = new Set();
    const runs = window.runs = {asked: 0, isOver: true};
    WebSocket.prototype.send = function (message) {
        Object.assign(runs, {asked: runs.asked + 1, isOver: false});
        if (!watched.has(this)) this.addEventListener('message', ({data}) => {
            const bytes = new Uint8Array(data);
            if (bytes.length === 2 && bytes[0] === 0x4a) runs.isOver = true;
        });
        watched.add(this);
        return send.call(this, message);
    };
}"""

BACKGROUND = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
NOTHING_FADES = "document.getAnimations().every(moving => moving.playState !== 'running')"


@dataclass
class Visit:
    """A page in a separate window.

    Attributes:
        problems: what the page has logged as an error.
    """

    page: Page
    problems: list[str] = field(default_factory=list)

    def open(self, url: str) -> None:
        """Go to an address, and wait until its page is completely drawn."""
        self.page.goto(url)
        expect(self.page.get_by_role("heading", level=1)).to_be_visible(timeout=MINUTE)
        wait_until_drawn(self.page)

    def end(self) -> None:
        """Close the window; fails if an error was logged."""
        self.page.close()
        assert not self.problems, self.problems


def open_page(browser: Browser, url: str, *, width: int = WIDE, scheme: Scheme = "light") -> Visit:
    """A page in a new window without a history, completely drawn."""
    visit = open_window(browser, url, width=width, scheme=scheme)
    visit.open(url)
    return visit


def open_window(
    browser: Browser, url: str, *, width: int = WIDE, scheme: Scheme = "light"
) -> Visit:
    """A new window without a history of the app at `url`, still empty."""
    visit = Visit(_new_window(browser, url))
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    visit.page.on("console", lambda message: _note(visit.problems, message))
    visit.page.on("pageerror", lambda error: visit.problems.append(str(error)))
    return visit


def _new_window(browser: Browser, url: str) -> Page:
    """A window that shares no state with other windows.

    What a closed window has read and compiled of the app's scripts is used again: half of what it
    costs to open a page.
    """
    closed = (context for context in browser.contexts if not context.pages)
    context = next(closed, None) or browser.new_context()
    page = context.new_page()
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
    context.new_cdp_session(page).send(
        "Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "cookies,local_storage"}
    )
    context.clear_cookies()
    page.set_default_timeout(MINUTE)
    return page


def _note(problems: list[str], message: ConsoleMessage) -> None:
    # At the address of a page, Streamlit's own script first requests the server's health there,
    # and then at the root.
    asked = message.location["url"].endswith(("/_stcore/health", "/_stcore/host-config"))
    if message.type == "error" and not asked:
        problems.append(f"{message.text} ({message.location['url']})")


def repaint(page: Page, scheme: Scheme) -> None:
    """Change to the other theme, and wait until the page is drawn in it."""
    before = page.evaluate(BACKGROUND)
    page.emulate_media(color_scheme=scheme)
    wait_for(lambda: page.evaluate(BACKGROUND) != before, 180, f"a {scheme} page")
    wait_until_drawn(page)
    wait_for(lambda: page.evaluate(NOTHING_FADES), 180, "the end of all transitions")


def wait_until_drawn(page: Page) -> None:
    """Wait until everything is sent and drawn; fails if the page has failed."""
    expect(page.get_by_test_id("stApp")).to_have_attribute(
        "data-test-script-state", "notRunning", timeout=MINUTE
    )
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0, timeout=MINUTE)
    empty = """() => [...document.querySelectorAll('[data-testid^=stBidiComponent]')]
        .filter(chart => chart.offsetParent && !chart.querySelector('.main-svg')).length"""
    wait_for(lambda: page.evaluate(empty) == 0, 180, "all charts drawn")
