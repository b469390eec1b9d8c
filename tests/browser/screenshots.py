"""Screenshots of all pages: `make screenshots` writes them to docs/screenshots.

Wide and narrow, light and dark, of an app that nobody has used yet: what a first visitor sees.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

from dashboard.navigation import PAGES, PageEntry
from tests.browser.app import Server, running_app
from tests.browser.chromium import TEST_ARGUMENTS, find_chromium
from tests.browser.visiting import MINUTE, NARROW, WIDE, Scheme, open_page, wait_until_drawn

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
_SCHEMES: tuple[Scheme, ...] = ("light", "dark")
# Enough for a method's colour that fills few pixels.
_COLORS, _QUANTISE = 256, Image.Quantize.MAXCOVERAGE


def main(arguments: list[str]) -> int:
    """Take screenshots of the given pages, or of all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = [page for page in PAGES if not arguments or page.file in arguments]
    path = find_chromium()
    assert path, "no Chromium: run `make browser`, or set ASI_CHROMIUM to one"
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=TEST_ARGUMENTS)
        with running_app(Path(home)) as app:
            for picture in take(browser, app, wanted):
                print(picture)
        browser.close()
    return 0


def take(browser: Browser, app: Server, pages: list[PageEntry]) -> Iterator[Path]:
    """One full-length screenshot per page, width and theme, with few colours to be small."""
    for page, width, scheme in product(pages, (WIDE, NARROW), _SCHEMES):
        visit = open_page(browser, f"{app.url}/{page.path}", width=width, scheme=scheme)
        # What the worker is still computing for a visit, such as the formula of a step.
        expect(visit.page.get_by_test_id("stAlert").filter(has_text="…")).to_have_count(
            0, timeout=3 * MINUTE
        )
        wait_until_drawn(visit.page)
        # The page scrolls inside the window, so the window is made as high as the page.
        height = visit.page.evaluate(
            "document.querySelector('[data-testid=stMain]')?.scrollHeight ?? 900"
        )
        visit.page.set_viewport_size({"width": width, "height": min(int(height) + 20, 6000)})
        path = FOLDER / f"{page.file}-{width}-{scheme}.png"
        visit.page.screenshot(path=path)
        Image.open(path).convert("RGB").quantize(_COLORS, _QUANTISE).save(path, optimize=True)
        visit.end()
        yield path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
