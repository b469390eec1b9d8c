"""What a visitor does, in a real browser, with a real worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Server
from tests.waiting import wait_for

SHORT = "?steps=24&image_size=64&batch_size=32"
LONG = "?steps=5000&image_size=32&batch_size=32"
MINUTE = 60_000


@pytest.fixture
def visits(browser: Browser, server: Server) -> Iterator[list[Page]]:
    """Pages opened by a test; afterwards none may have logged an error."""
    opened: list[Page] = []
    yield opened
    for page in opened:
        assert page.problems == []  # type: ignore[attr-defined]
        if not page.is_closed():
            page.context.close()


def visit(browser: Browser, visits: list[Page], url: str, width: int = 1440) -> Page:
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    page.problems = []  # type: ignore[attr-defined]
    page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.problems.append(str(error)))  # type: ignore[attr-defined]
    visits.append(page)
    page.goto(url)
    expect(button(page, "Train and compare")).to_be_enabled(timeout=MINUTE)
    return page


def button(page: Page, name: str):  # type: ignore[no-untyped-def]
    return page.get_by_role("button", name=name)


def points(page: Page, title: str) -> int:
    """How many points the first curve of a figure has by now; an error if the page tells of one."""
    alerts = page.get_by_role("alert").all_inner_texts()
    assert not alerts, alerts
    script = """title => {
        const plots = [...document.querySelectorAll('.js-plotly-plot')];
        const plot = plots.find(p => p.layout?.title?.text?.includes(title));
        return plot?.data?.[0]?.x?.length ?? 0;
    }"""
    return int(page.evaluate(script, title))


def test_a_visitor_compares_leaves_and_comes_back(
    browser: Browser, server: Server, visits: list[Page]
) -> None:
    page = visit(browser, visits, server.url + SHORT)
    expect(page.get_by_role("heading", name="What does compression cost")).to_be_visible()
    button(page, "Train and compare").click()
    some = wait_for(lambda: points(page, "Training loss"), 200, "the first points")
    wait_for(lambda: points(page, "Training loss") > some, 200, "a growing curve")
    expect(page.get_by_text("Why it can be small")).to_be_visible(timeout=MINUTE)
    wait_for(lambda: points(page, "Spectra") > 0, 30, "the spectra")
    page.context.close()

    again = visit(browser, visits, server.url)
    expect(again.get_by_text("completed after 24 steps")).to_have_count(5, timeout=2 * MINUTE)
    expect(again.get_by_text("ASI keeps", exact=False)).to_be_visible()
    wait_for(lambda: points(again, "Test accuracy") >= 8, 30, "the finished curve")


def test_a_run_is_cancelled_while_the_others_go_on(
    browser: Browser, server: Server, visits: list[Page]
) -> None:
    page = visit(browser, visits, server.url + LONG)
    button(page, "Train and compare").click()
    wait_for(lambda: points(page, "Training loss"), 200, "the first points")
    expect(button(page, "Cancel")).to_have_count(5)
    button(page, "Cancel").nth(1).click()
    expect(page.get_by_text("cancelled after")).to_have_count(1, timeout=20_000)
    expect(button(page, "Cancel")).to_have_count(4)
    for left in (3, 2, 1, 0):
        button(page, "Cancel").first.click()
        expect(button(page, "Cancel")).to_have_count(left, timeout=20_000)
    expect(page.get_by_text("cancelled after")).to_have_count(5)


def test_wrong_input_is_told_on_the_page(
    browser: Browser, server: Server, visits: list[Page]
) -> None:
    page = visit(browser, visits, server.url)
    box = page.get_by_role("spinbutton", name="Explained variance")
    box.fill("1.5")
    box.press("Enter")
    expect(page.get_by_text("explained variance must be above 0 and at most 1")).to_be_visible()
    expect(button(page, "Train and compare")).to_be_disabled()


def test_nothing_overflows_on_a_phone(browser: Browser, server: Server, visits: list[Page]) -> None:
    page = visit(browser, visits, server.url + "?steps=2&image_size=32&batch_size=16", width=390)
    button(page, "Train and compare").click()
    wait_for(lambda: points(page, "Spectra"), 200, "the last figure of the page")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
