"""Comparing and sweeping in a real browser, on the runs that come with the app."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.app import Server
from tests.browser.visiting import MINUTE, open_page, wait_until_drawn
from tests.waiting import wait_for

PICTURE = "Accuracy against"


@pytest.fixture(scope="module")
def compare(browser: Browser, server: Server) -> Iterator[Page]:
    """The page on the shipped runs, opened once for the tests that start nothing."""
    visit = open_page(browser, f"{server.url}/compare")
    expect(visit.page.get_by_role("heading", name="Which runs are worth")).to_be_visible()
    yield visit.page
    visit.end()


def points(page: Page) -> list[dict[str, Any]]:
    """The points of the figure: label and position on the page."""
    script = """title => {
        const plots = [...document.querySelectorAll('.js-plotly-plot')];
        const plot = plots.find(p => p.layout?.title?.text?.startsWith(title));
        if (!plot) return [];
        const {left, top} = plot.getBoundingClientRect();
        const {xaxis, yaxis} = plot._fullLayout;
        return plot._fullData.filter(t => t.customdata).flatMap(trace =>
            [...trace.x].map((x, i) => ({
                label: trace.customdata[i],
                left: left + xaxis._offset + xaxis.d2p(x),
                top: top + yaxis._offset + yaxis.d2p(trace.y[i]),
            })));
    }"""
    found: list[dict[str, Any]] = page.evaluate(script, PICTURE)
    return found


def overlapping_marks(page: Page) -> list[list[str]]:
    """Pairs of shown marks of figures of accuracy that cover each other; fails if none is shown."""
    script = """() => [...document.querySelectorAll('.js-plotly-plot')].map(plot => {
        const marks = [...plot.querySelectorAll('.textpoint text')].filter(t => t.textContent);
        const boxes = marks.map(mark => [mark.textContent, mark.getBoundingClientRect().toJSON()]);
        return boxes.filter(([, box]) => box.width);
    })"""
    shown = [boxes for boxes in page.evaluate(script) if boxes]
    assert shown, "no figure shows a mark"
    return [
        [one, other]
        for boxes in shown
        for (one, a), (other, b) in combinations(boxes, 2)
        if a["left"] < b["right"] and b["left"] < a["right"]
        if a["top"] < b["bottom"] and b["top"] < a["bottom"]
    ]


def chosen(page: Page) -> list[str]:
    tags = page.get_by_test_id("stMultiSelect").filter(has_text="Runs in detail")
    return tags.locator("[data-tag]").all_inner_texts()


def test_the_report_opens_without_a_network(
    browser: Browser, compare: Page, tmp_path: Path
) -> None:
    with compare.expect_download(timeout=MINUTE) as download:
        compare.get_by_role("button", name="Report").click()
    path = tmp_path / "report.html"
    download.value.save_as(path)
    context = browser.new_context(offline=True)
    page, problems = context.new_page(), []
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: problems.append(r.url) if not r.url.startswith("file:") else None)
    page.goto(path.as_uri())
    expect(page.get_by_role("heading", name="Which runs are worth")).to_be_visible()
    drawn = "[...document.querySelectorAll('.js-plotly-plot')].filter(p => p._fullData).length"
    wait_for(lambda: page.evaluate(drawn) == 10, 180, "four figures on two axes, and two others")
    first = page.locator("figure").first
    plot = "document.querySelector('figure [data-axis]:not([hidden]) .js-plotly-plot')"
    as_wide = f"Math.abs({plot}._fullLayout.width - {plot}.closest('figure').offsetWidth) < 2"
    for name in ("linear", "log", "linear"):
        first.get_by_role("radio", name=name).check()
        expect(first.locator(".js-plotly-plot:visible")).to_have_count(1)
        assert page.evaluate(f"{plot}.layout.xaxis.type ?? 'linear'") == name
        wait_for(lambda: page.evaluate(as_wide), 180, "a figure as wide as the page")
    assert overlapping_marks(page) == []
    assert problems == []
    context.close()


def test_a_point_opens_its_run_and_the_link_remembers_it(compare: Page) -> None:
    page = compare
    expect(page.get_by_text("The cheapest run within 1 point of vanilla")).to_be_visible()
    wait_for(lambda: points(page), 180, "the picture's points")
    wait_until_drawn(page)
    page.locator(".live-chart").first.scroll_into_view_if_needed()
    point = points(page)[-1]
    page.mouse.click(point["left"], point["top"])
    wait_for(lambda: chosen(page) == [point["label"]], 180, "the point's run in the box")
    wait_until_drawn(page)
    # That the address leads there is tested without a browser.
    assert "runs=" in page.url
    assert overlapping_marks(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    width = "document.querySelector('.live-chart .js-plotly-plot').layout.width"
    wait_for(lambda: page.evaluate(width) < 390, 180, "a narrow figure")
    assert overlapping_marks(page) == []


def test_a_sweep_is_launched_watched_and_cancelled(
    browser: Browser, training_server: Server
) -> None:
    short = "sweep_steps=4000&sweep_batch_size=16&sweep_image_size=32"
    visit = open_page(browser, f"{training_server.url}/compare?{short}")
    page = visit.page
    page.get_by_text("Start a sweep").click()
    expect(page.get_by_text("6 runs.")).to_be_visible()
    page.get_by_role("button", name="Start the sweep").click()
    cancel = page.get_by_role("button", name="Cancel all")
    expect(cancel).to_have_count(1, timeout=MINUTE)
    expect(page.get_by_text("6 runs: ")).to_be_visible()
    expect(page.get_by_text("running")).not_to_have_count(0, timeout=2 * MINUTE)
    cancel.click()
    expect(cancel).to_have_count(0, timeout=2 * MINUTE)
    wait_until_drawn(page)
    visit.end()
