"""What only a browser shows of small things: addresses, tab stops, toolbars, disabled controls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.browser.app import Server
from tests.browser.visiting import NARROW, Visit, open_window, repaint, wait_until_drawn
from tests.waiting import wait_for

STOPS = """around => [...document.querySelectorAll(around + ' [data-testid=stTooltipIcon] *')]
    .filter(e => e.matches('button, [tabindex]') && e.tabIndex >= 0)
    .filter(e => !e.closest('[data-testid=stExpander]')).length"""
# Titles that plotly's toolbar covers, in the order of the page.
COVERED = """() => [...document.querySelectorAll('.live-chart')].filter(chart => {
    const title = chart.querySelector('.gtitle')?.getBoundingClientRect();
    const bar = chart.querySelector('.modebar')?.getBoundingClientRect();
    return title && bar && bar.width && title.right > bar.left && title.bottom > bar.top + 2;
}).map(chart => chart.ariaLabel)"""
# Contrast of the text of disabled controls with the page, by WCAG's formula.
CONTRAST = """() => {
    const context = document.createElement('canvas').getContext('2d');
    const light = color => {
        context.fillStyle = color; context.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map(c => {
            const s = c / 255;
            return s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const app = getComputedStyle(document.querySelector('[data-testid=stSidebar]'));
    return [...document.querySelectorAll('input:disabled')].filter(e => e.offsetParent).map(e => {
        const [a, b] = [light(getComputedStyle(e).color), light(app.backgroundColor)];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    });
}"""
ALL_FIT = """() => [...document.querySelectorAll('.live-chart .js-plotly-plot')]
    .every(plot => plot._fullLayout.width <= innerWidth)"""
BAR = """place => {
    const plot = document.querySelector('.live-chart.clickable .js-plotly-plot');
    plot.scrollIntoView({block: 'center'});
    const {xaxis, yaxis} = plot._fullLayout, corner = plot.getBoundingClientRect();
    return [corner.left + xaxis._offset + xaxis.d2p(place + 1),
            corner.top + yaxis._offset + yaxis._length / 2];
}"""

HOVERED = """() => document.querySelector('.live-chart.clickable .js-plotly-plot')
    ._hoverdata?.[0].customdata"""

SCREEN: ViewportSize = {"width": 1280, "height": 720}


@pytest.fixture(scope="module")
def window(browser: Browser, server: Server) -> Iterator[Visit]:
    visit = open_window(browser, server.url)
    visit.page.set_viewport_size(SCREEN)
    yield visit
    visit.end()


@pytest.fixture(scope="module")
def explore(window: Visit, server: Server) -> Page:
    """The first page, for the tests before those that open another one."""
    window.open(f"{server.url}/explore?layers=3")
    return window.page


def test_the_first_page_has_a_name_too(explore: Page, server: Server) -> None:
    expect(explore.get_by_role("heading", name="What would compression save?")).to_be_visible()
    assert explore.url.startswith(f"{server.url}/?")
    assert "layers=3" in explore.url


def test_help_marks_are_one_tab_stop_for_each_group(explore: Page) -> None:
    wait_for(lambda: explore.evaluate(STOPS, "[data-testid=stSidebar]") == 1, 60, "one tab stop")
    marks = explore.locator("[data-testid=stSidebar] [data-testid=stTooltipIcon] [tabindex]")
    assert marks.count() > 4
    marks.first.focus()
    explore.keyboard.press("ArrowDown")
    assert explore.evaluate(
        "document.activeElement.closest('[data-testid=stTooltipIcon]') !== null"
    )
    assert explore.evaluate(STOPS, "[data-testid=stSidebar]") == 1
    assert marks.nth(1).get_attribute("tabindex") == "0"


def test_a_click_trains_a_layer_and_is_in_the_address(explore: Page) -> None:
    click_bar(explore, 40)
    explore.wait_for_url("**layer_names=**")
    expect(explore.get_by_role("group", name="The network: 4 of 49")).to_be_visible()
    wait_until_drawn(explore)
    click_bar(explore, 40)
    expect(explore.get_by_role("group", name="The network: 3 of 49")).to_be_visible()
    wait_until_drawn(explore)
    click_bar(explore, 46)
    explore.wait_for_url("**layers=2**")
    expect(explore.get_by_role("group", name="The network: 2 of 49")).to_be_visible()


def click_bar(page: Page, place: int) -> None:
    at = page.evaluate(BAR, place)
    page.mouse.move(*at)
    wait_for(lambda: page.evaluate(HOVERED) == place, 60, "the bar under the mouse")
    page.mouse.click(*at)


@pytest.mark.parametrize("path", ["learn", ""])
def test_a_lesson_is_opened_by_its_number(window: Visit, server: Server, path: str) -> None:
    window.open(f"{server.url}/{path}?lesson=2")
    expect(window.page.get_by_role("heading", name="What low rank means", level=1)).to_be_visible()


def test_no_toolbar_covers_a_title(window: Visit, server: Server) -> None:
    page = window.page
    window.open(f"{server.url}/train")
    assert page.evaluate(COVERED) == []
    page.set_viewport_size({"width": NARROW, "height": 900})
    wait_for(lambda: page.evaluate(ALL_FIT), 180, "charts of a phone's width")
    assert page.evaluate(COVERED) == []
    page.set_viewport_size(SCREEN)


def test_disabled_controls_can_be_read(window: Visit, server: Server) -> None:
    page = window.page
    window.open(f"{server.url}/?model=swin_t&ranks_from=One+rank")
    for scheme in ("light", "dark"):
        if scheme == "dark":
            repaint(page, scheme)
        found = page.evaluate(CONTRAST)
        assert found, "a model of one image size, and methods that do not support it"
        assert min(found) >= 4.5
