"""Waiting times of a visitor: the first figure of a new server, and a change of page.

Prints medians over a few rounds, in milliseconds, as JSON: `python -m benchmarks.page_latency`.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from dashboard.navigation import PAGES
from tests.browser.app import running_app
from tests.browser.chromium import ARGUMENTS, find_chromium
from tests.browser.visiting import open_page, wait_until_drawn

_COLD_ROUNDS, _SWITCH_ROUNDS = 3, 3
_DRAWN = "() => document.querySelector('.js-plotly-plot .main-svg .trace, .js-plotly-plot .bars')"


def main() -> int:
    """Measure both, and print them."""
    path = find_chromium()
    assert path, "no Chromium: run `make browser`, or set ASI_CHROMIUM to one"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        cold = [_first_picture(browser) for _ in range(_COLD_ROUNDS)]
        switches = _switches(browser)
        browser.close()
    print(
        json.dumps(
            {
                "first_picture_ms": {"median": statistics.median(cold), "all": cold},
                "page_switch_ms": {
                    "median": statistics.median(t for all_ in switches.values() for t in all_),
                    "by_page": {name: statistics.median(all_) for name, all_ in switches.items()},
                },
            },
            indent=2,
        )
    )
    return 0


def _first_picture(browser: Browser) -> float:
    """From the first response of a new server to the first drawn trace in a new window."""
    with tempfile.TemporaryDirectory() as home, running_app(Path(home)) as app:
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        started = time.perf_counter()
        page.goto(app.url)
        page.wait_for_function(_DRAWN, timeout=60_000)
        taken = time.perf_counter() - started
        page.context.close()
    return round(1e3 * taken, 1)


def _switches(browser: Browser) -> dict[str, list[float]]:
    """From a click in the navigation to the new page's heading; every page was drawn before."""
    times: dict[str, list[float]] = {page.title: [] for page in PAGES}
    with tempfile.TemporaryDirectory() as home, running_app(Path(home)) as app:
        page = open_page(browser, app.url).page
        for number in range(_SWITCH_ROUNDS + 1):
            for entry in (*PAGES[1:], PAGES[0]):
                taken = _switch(page, entry.title)
                if number:
                    times[entry.title].append(round(1e3 * taken, 1))
    return times


def _switch(page: Page, title: str) -> float:
    before = page.get_by_role("heading", level=1).inner_text()
    started = time.perf_counter()
    page.get_by_role("link", name=title, exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text(before, timeout=60_000)
    taken = time.perf_counter() - started
    wait_until_drawn(page)
    return taken


if __name__ == "__main__":
    sys.exit(main())
