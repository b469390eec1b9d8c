"""Every page: no logged errors, no overflow, and no accessibility violations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from dashboard.navigation import PAGES
from tests.browser.app import Server
from tests.browser.visiting import (
    NARROW,
    Scheme,
    Visit,
    open_window,
    repaint,
    wait_until_drawn,
)
from tests.waiting import wait_for

NAMES = [page.path for page in PAGES]
# Rules that Streamlit's own frame violates, which pages cannot change.
FRAME = ["[data-testid=stHeader]", "[data-testid=stToolbar]", "[data-testid=stDecoration]"]
# The rules that depend on the colours; all others were applied to the same elements before.
OF_COLOURS = ("color-contrast", "link-in-text-block")
# About text on a copy of a button, outside of the app element.
PUT_INTO_MENU = """() => {
    const button = document.querySelector("[data-testid='stBaseButton-primary']");
    return getComputedStyle(document.body.appendChild(button.cloneNode(true))).color;
}"""
WHITE = "rgb(255, 255, 255)"
SMALL_SCREEN: ViewportSize = {"width": 1280, "height": 720}
PHONE: ViewportSize = {"width": NARROW, "height": 900}
FIRST_SCREEN = {
    "question": "h1",
    "answer": ".st-key-page-answer",
    "picture": ".live-chart",
}
BOXES = "css => [...document.querySelectorAll(css)].map(e => e.getBoundingClientRect().toJSON())"
# Pixels of text in the parts of a page: headings, the answer, figures.
SIZES = """() => {
    const size = css => parseFloat(getComputedStyle(document.querySelector(css)).fontSize);
    return {h1: size('h1'), answer: size('.st-key-page-answer h5'),
            figure: size('.live-chart .xtick text, .live-chart .ytick text')};
}"""
# Texts of number cards and figures that lie outside of what surrounds them.
CUT = """() => {
    const isCut = (inner, outer) => inner.width > 0 &&
        (inner.left < outer.left - 2 || inner.right > outer.right + 2);
    const inside = (css, around) => [...document.querySelectorAll(css)].filter(e =>
        isCut(e.getBoundingClientRect(), e.closest(around).getBoundingClientRect()));
    const shortened = [...document.querySelectorAll('[data-testid=stMetric] *')].filter(e =>
        e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'visible');
    return [...inside('.live-chart text', '.live-chart'), ...shortened].map(e => e.textContent);
}"""


@pytest.fixture(scope="module")
def window(browser: Browser, server: Server) -> Iterator[Visit]:
    """A context for all pages, so that assets are fetched once."""
    visit = open_window(browser, server.url)
    yield visit
    visit.end()


@dataclass(frozen=True)
class Opened:
    """A page on a small screen, in the light theme.

    Attributes:
        url: its address.
        visit: the window that shows it.
        sizes: of its text, in pixels.
    """

    url: str
    visit: Visit
    sizes: dict[str, float]

    def show(self, screen: ViewportSize, scheme: Scheme) -> Page:
        self.visit.page.set_viewport_size(screen)
        self.visit.page.emulate_media(color_scheme=scheme)
        return self.visit.page


@pytest.fixture(scope="module", params=NAMES, ids=lambda name: name or "explore")
def opened(request: pytest.FixtureRequest, window: Visit, server: Server) -> Opened:
    """Each page in turn, opened once for all of its tests."""
    url = f"{server.url}/{request.param}"
    window.page.set_viewport_size(SMALL_SCREEN)
    window.page.emulate_media(color_scheme="light")
    window.open(url)
    return Opened(url, window, window.page.evaluate(SIZES))


def test_question_answer_and_a_picture_are_in_the_first_screen(opened: Opened) -> None:
    page = opened.show(SMALL_SCREEN, "light")
    height = SMALL_SCREEN["height"]
    seen = {
        part: [box for box in page.evaluate(BOXES, css) if box["top"] > 0 and box["height"] > 10]
        for part, css in FIRST_SCREEN.items()
    }
    assert {
        part: any(box["bottom"] <= height for box in seen[part]) for part in seen
    } == dict.fromkeys(FIRST_SCREEN, True), seen


def test_nobody_is_shut_out_and_nothing_is_wider_than_a_phone(opened: Opened) -> None:
    page = opened.show(SMALL_SCREEN, "light")
    assert serious_barriers(page) == []
    repaint(page, "dark")
    assert serious_barriers(page, *OF_COLOURS) == []
    opened.show(PHONE, "dark")
    main = page.get_by_test_id("stMain")
    wait_for(lambda: _excess(page, main) <= 0, 180, "nothing wider than a phone")


def test_a_presentation_is_large_and_whole(opened: Opened) -> None:
    page = opened.show(SMALL_SCREEN, "light")
    opened.visit.open(f"{opened.url}?present=1")
    before = opened.sizes
    wait_for(lambda: page.evaluate(SIZES)["h1"] > before["h1"], 60, "larger text")
    wait_until_drawn(page)
    after = page.evaluate(SIZES)
    assert {part: size for part, size in after.items() if size < 1.4 * before[part]} == {}
    assert not page.get_by_test_id("stSidebar").is_visible()
    for control in ("stSelectbox", "stNumberInput", "stMultiSelect", "stExpander", "stDataFrame"):
        assert (
            page.get_by_test_id("stMain").get_by_test_id(control).filter(visible=True).count() == 0
        )
    wait_for(lambda: _excess(page, page.get_by_test_id("stMain")) <= 0, 60, "nothing too wide")
    assert page.evaluate(CUT) == []


def test_a_presentation_goes_on_on_the_next_page_and_ends(window: Visit, server: Server) -> None:
    page = window.page
    page.set_viewport_size(SMALL_SCREEN)
    window.open(server.url)
    page.get_by_test_id("stMain").get_by_text("Present", exact=True).click()
    page.wait_for_url("**present=1**")
    page.get_by_role("link", name="Poster").click()
    expect(page.get_by_role("heading", name="Do the printed numbers hold?")).to_be_visible()
    page.wait_for_url("**/poster?**present=1**")
    wait_until_drawn(page)
    large = page.evaluate(SIZES)["h1"]
    page.get_by_test_id("stMain").get_by_text("Present", exact=True).click()
    wait_for(lambda: page.evaluate(SIZES)["h1"] < large, 60, "text of usual size")
    assert "present" not in page.url


def test_text_on_the_main_colour_of_a_menu_can_be_read(window: Visit, server: Server) -> None:
    """Menus are at the end of the page's body, outside of the app element."""
    colours: tuple[tuple[Scheme, str], ...] = (("light", WHITE), ("dark", "rgb(14, 16, 19)"))
    for scheme, colour in colours:
        # Anew: their theme is that of the latest script run.
        window.page.emulate_media(color_scheme=scheme)
        window.open(f"{server.url}/learn")
        assert window.page.evaluate(PUT_INTO_MENU) == colour


def serious_barriers(page: Page, *rules: str) -> list[str]:
    """Violations of accessibility rules, by default all, that axe-core finds; with the elements."""
    options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    found = Axe().run(page, {"exclude": [[part] for part in FRAME]}, options).response
    serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    return [f"{v['id']}: {v['help']}: {[n['html'][:200] for n in v['nodes'][:4]]}" for v in serious]


def _excess(page: Page, main: Locator) -> int:
    """Pixels by which the page, or a scrollable part of it, is wider than the window."""
    whole = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return max(int(whole), int(main.evaluate("e => e.scrollWidth - e.clientWidth")))
