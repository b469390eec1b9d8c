"""The Explore page in a real browser."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from tests.browser.app import Server
from tests.browser.visiting import NARROW, WATCH_RUNS, open_page, wait_until_drawn
from tests.waiting import wait_for

PER_LAYER = "/?bars=per+layer"
BY_RANK = f"{PER_LAYER}&ranks_from=One+rank"


def bars(page: Page, title: str) -> int:
    """How many layers a figure shows for its first method."""
    script = """title => {
        const plots = [...document.querySelectorAll('.js-plotly-plot')];
        const plot = plots.find(p => p.layout?.title?.text?.startsWith(title));
        return plot?.data?.[0]?.x?.length ?? 0;
    }"""
    return int(page.evaluate(script, title))


def shows(page: Page, layers: int) -> None:
    for title in ("Kept for backward", "Cost of a step"):
        wait_for(lambda title=title: bars(page, title) == layers, 180, f"{layers} layers: {title}")  # type: ignore[misc]


def test_no_press_is_lost_while_the_rest_of_the_page_is_drawn(
    browser: Browser, server: Server
) -> None:
    """Each key press comes as soon as the browser has requested the details below the figures.

    Numbers, pictures and address follow the slider.
    """
    visit = open_page(browser, server.url + BY_RANK)
    page = visit.page
    shows(page, 4)
    number = page.get_by_test_id("stMetricValue").nth(1)
    first = number.inner_text()
    page.evaluate(WATCH_RUNS)
    page.get_by_role("slider", name="Trained layers").focus()
    for layers in (*range(5, 9), *range(7, 3, -1)):
        asked = page.evaluate("runs.asked")
        page.keyboard.press("ArrowRight" if layers > bars(page, "Kept") else "ArrowLeft")
        wait_for(lambda layers=layers: bars(page, "Kept") == layers, 180, f"{layers} layers")  # type: ignore[misc]
        page.wait_for_function(f"runs.asked >= {asked + 2}", timeout=180_000)
        if layers == 8:
            shows(page, layers)
            expect(number).not_to_have_text(first)
            page.wait_for_url("**layers=8**")
    shows(page, 4)
    expect(number).to_have_text(first)
    visit.end()


def test_what_follows_the_pictures_is_of_the_same_model_on_a_second_visit_too(
    browser: Browser, server: Server
) -> None:
    visit = open_page(browser, server.url + PER_LAYER)
    page = visit.page
    expect(page.get_by_text("ASI keeps").first).to_be_visible()
    expect(page.get_by_text("Small microcontroller")).to_be_visible()
    shows(page, 4)
    visit.open(server.url + BY_RANK)
    page.get_by_role("link", name="Poster").click()
    expect(page.get_by_role("heading", name="Do the printed numbers hold?")).to_be_visible()
    page.get_by_role("link", name="Explore").click()
    largest = page.get_by_text("With one rank for all modes")
    expect(largest).to_contain_text("rank 17")
    wait_until_drawn(page)
    page.get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name="ResNet-18").click()
    expect(page.get_by_text("layers of ResNet-18").first).to_be_visible()
    expect(largest).not_to_contain_text("rank 17")
    visit.end()


def test_formulas_do_not_overflow_a_phone(browser: Browser, server: Server) -> None:
    url = f"{server.url}{BY_RANK}&layers=49&formulas=true&numbers=true"
    visit = open_page(browser, url, width=NARROW)
    expect(visit.page.locator(".katex-display").first).to_be_visible()
    shows(visit.page, 49)
    wait_until_drawn(visit.page)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= NARROW
    visit.end()
