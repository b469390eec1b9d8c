"""What holds for every page: nothing logged, nothing too wide, and nobody shut out."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page

from dashboard.navigation import PAGES
from tests.browser.app import Server
from tests.browser.visiting import NARROW, Scheme, open_page
from tests.waiting import wait_for

NAMES = [page.path for page in PAGES]
# Streamlit's own frame, which pages cannot change.
FRAME = ["[data-testid=stHeader]", "[data-testid=stToolbar]", "[data-testid=stDecoration]"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES, ids=lambda name: name or "explore")
def test_nobody_is_shut_out_and_nothing_is_wider_than_a_phone(
    browser: Browser, server: Server, name: str, scheme: Scheme
) -> None:
    visit = open_page(browser, f"{server.url}/{name}", scheme=scheme)
    found = Axe().run(visit.page, context={"exclude": [[part] for part in FRAME]}).response
    serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    told = [f"{v['id']}: {v['help']}: {[n['html'][:200] for n in v['nodes'][:4]]}" for v in serious]
    assert told == []
    visit.page.set_viewport_size({"width": NARROW, "height": 900})
    main = visit.page.get_by_test_id("stMain")
    wait_for(lambda: _excess(visit.page, main) <= 0, 10, "nothing wider than a phone")
    visit.end()


def _excess(page: Page, main: Locator) -> int:
    """Pixels by which the page, or what scrolls in it, is wider than the window."""
    whole = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return max(int(whole), int(main.evaluate("e => e.scrollWidth - e.clientWidth")))
