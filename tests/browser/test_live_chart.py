"""The live chart in a real browser, in a separate app."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browser.app import Server
from tests.browser.charts import NARROW, WIDE, Charts, running_charts
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def charts_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_charts(tmp_path_factory.mktemp("charts")) as server:
        yield server


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[Charts]:
    """One context for all tests, so that assets are fetched once."""
    charts = Charts(browser.new_context(viewport=WIDE).new_page())
    yield charts
    charts.page.context.close()


@pytest.fixture
def charts(window: Charts, charts_app: Server) -> Iterator[Charts]:
    window.open(charts_app.url)
    yield window
    assert window.problems == []


def test_zoom_and_hidden_traces_survive_growth(charts: Charts) -> None:
    zoomed = charts.zoom()
    charts.legend("ASI").click()
    expect(charts.legend("ASI")).to_have_attribute("aria-pressed", "false")
    charts.first("plot.here = true")
    for _ in range(3):
        charts.grow()
    assert charts.points() == 8
    assert charts.range() == zoomed
    assert charts.first("plot._fullData.map(trace => trace.visible)") == [True, "legendonly"]
    assert charts.first("plot.here") is True


def test_a_trace_stays_hidden_when_another_comes_before_it(charts: Charts) -> None:
    charts.legend("ASI").click()
    expect(charts.legend("ASI")).to_have_attribute("aria-pressed", "false")
    charts.page.get_by_text("Another curve").click()
    expect(charts.legend("Another")).to_have_attribute("aria-pressed", "true")
    expect(charts.legend("Vanilla")).to_have_attribute("aria-pressed", "true")
    expect(charts.legend("ASI")).to_have_attribute("aria-pressed", "false")


def test_the_library_comes_once_and_updates_are_figures_alone(charts: Charts) -> None:
    charts.await_end_of_run()
    seen, asked, before = len(charts.received), len(charts.asked), charts.range()
    charts.grow()
    charts.await_end_of_run()
    assert charts.range()[1] > before[1] + 0.5, "without a zoom the axes follow the data"
    update = b"".join(charts.received[seen:])
    assert update.count(b'{"traces": ') == 4
    # Four figures of about half a kilobyte each, plus Streamlit's messages.
    assert len(update) < 8000
    assert b"import" not in update
    assert b"<script" not in update
    assert charts.asked[asked:] == []
    assert len([url for url in charts.asked if "plotly.min.js" in url]) == 1


def test_hover_stays_while_points_are_added(charts: Charts) -> None:
    charts.zoom()
    charts.page.mouse.move(*charts.place(0, 2))
    label = charts.page.locator(".hoverlayer .hovertext")
    expect(label).to_contain_text("0.2")
    more = charts.points() + 1
    charts.page.get_by_role("button", name="Grow").dispatch_event("click")
    wait_for(lambda: charts.points() == more, 180, "the update")
    expect(label).to_contain_text("0.2")


def test_nothing_changes_under_a_drag(charts: Charts) -> None:
    charts.drag(charts.place(0, 1), charts.place(1, 3))
    charts.page.get_by_role("button", name="Grow").dispatch_event("click")
    expect(charts.page.get_by_text("runs: 2")).to_be_visible()
    other = "document.querySelectorAll('.js-plotly-plot')[1].data[0].y[0]"
    wait_for(lambda: charts.page.evaluate(other) == 6, 180, "the update of another chart")
    assert charts.points() == 5
    charts.page.mouse.up()
    wait_for(lambda: charts.points() == 6, 180, "the update after the drag")
    assert charts.range()[1] < 3.5


def test_a_selection_arrives_and_stays(charts: Charts) -> None:
    point = "{'trace': 1, 'index': 2, 'customdata': 'ASI 2', 'x': 2, 'y': 1.2}"
    charts.click(1, 2)
    expect(charts.page.get_by_text(f"selected: [{point}]")).to_be_visible()
    expect(charts.page.get_by_text(f"in the state: [{point}]")).to_be_visible()
    charts.grow()
    assert charts.first("plot._fullData.map(trace => trace.selectedpoints)") == [[], [2]]
    expect(charts.page.get_by_text("selections: 1, runs: 3")).to_be_visible()
    expect(charts.page.get_by_text(f"selected: [{point}]")).to_be_visible()


def test_a_second_point_is_added_with_shift(charts: Charts) -> None:
    charts.click(1, 2)
    expect(charts.page.get_by_text("selected: ")).to_contain_text("ASI 2")
    charts.page.keyboard.down("Shift")
    charts.click(0, 1)
    charts.page.keyboard.up("Shift")
    for name in ("Vanilla 1", "ASI 2"):
        expect(charts.page.get_by_text("selected: ")).to_contain_text(name)
    expect(charts.page.get_by_text("selections: 2, runs: 3")).to_be_visible()


def test_a_box_selects_and_two_clicks_undo_it(charts: Charts) -> None:
    charts.page.get_by_role("button", name="Box Select").first.click()
    (left, low), (right, high) = charts.place(0, 1), charts.place(1, 3)
    charts.drag((left - 10, low + 5), (right + 10, high - 5))
    charts.page.mouse.up()
    for name in ("Vanilla 1", "Vanilla 2", "ASI 3"):
        expect(charts.page.get_by_text("selected: ")).to_contain_text(name)
    charts.grow()
    charts.page.mouse.dblclick((left + right) / 2, (low + high) / 2)
    expect(charts.page.get_by_text("selected: []")).to_be_visible()
    expect(charts.page.get_by_text("selections: 2, runs: 4")).to_be_visible()


def test_clicks_on_a_chart_that_does_not_ask_for_them_cause_no_run(charts: Charts) -> None:
    bars = charts.page.get_by_role("group", name="Bars").first
    expect(bars.get_by_role("button", name="Box Select")).to_have_count(0)
    box = bars.bounding_box()
    assert box is not None
    charts.page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    charts.grow()
    expect(charts.page.get_by_text("selections: 0, runs: 2")).to_be_visible()


def test_the_theme_is_followed_at_once(charts: Charts) -> None:
    # The second chart may be missing, or still without its figure.
    colors = """[plot.data[0].line.color, plot._fullLayout.font.color,
        document.querySelectorAll('.js-plotly-plot')[1]?.data?.[0]?.marker?.color?.[0]]"""
    wait_for(lambda: charts.first(colors)[::2] == ["#4D4D4D"] * 2, 180, "both charts")
    zoomed = charts.zoom()
    charts.page.emulate_media(color_scheme="dark")
    wait_for(lambda: charts.first(colors)[::2] == ["#B8BEC5"] * 2, 180, "dark colours")
    text = "getComputedStyle(plot).getPropertyValue('--st-text-color').trim()"
    assert charts.first("plot._fullLayout.font.color") == charts.first(text)
    assert charts.first("plot._fullLayout.paper_bgcolor").endswith(" 0)")
    assert charts.first("plot._fullLayout.font.family") == charts.first(
        "getComputedStyle(plot.parentElement).fontFamily"
    )
    assert charts.range() == zoomed
    charts.page.emulate_media(color_scheme="light")
    wait_for(lambda: charts.first(colors)[::2] == ["#4D4D4D"] * 2, 180, "light colours")


def test_what_is_hidden_is_drawn_right_when_it_is_shown(charts: Charts) -> None:
    hidden = charts.page.get_by_role("group", name="Bars", include_hidden=True).nth(1)
    expect(hidden.locator(".main-svg")).to_have_count(0)
    charts.page.get_by_role("tab", name="Hidden").click()
    expect(hidden.locator(".main-svg")).not_to_have_count(0)
    fits = "e => e.querySelector('.js-plotly-plot')._fullLayout.width === e.clientWidth"
    assert hidden.evaluate(fits)
    assert hidden.evaluate("e => e.clientWidth") > 1000
    charts.page.get_by_text("More").click()
    more = charts.page.get_by_role("group", name="Four subplots")
    expect(more.locator(".main-svg").first).to_be_visible()
    wait_for(lambda: more.evaluate(fits), 180, "subplots as wide as there is room")


def barriers(charts: Charts) -> list[tuple[str, list[str]]]:
    found = Axe().run(charts.page, context={"include": [[".live-chart"]]}).response
    return [(v["id"], [n["html"][:200] for n in v["nodes"]]) for v in found["violations"]]


def test_charts_fit_on_a_phone_without_barriers_and_many_subplots_scroll(charts: Charts) -> None:
    charts.page.get_by_text("More").click()
    charts.page.set_viewport_size(NARROW)
    wait_for(
        lambda: charts.first("plot._fullLayout.width") < NARROW["width"], 180, "a narrow chart"
    )
    more = charts.page.get_by_role("group", name="Four subplots")
    expect(more).to_have_attribute("tabindex", "0")
    assert more.evaluate("e => e.scrollWidth") >= 600
    assert charts.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    assert barriers(charts) == []
    charts.page.emulate_media(color_scheme="dark")
    wait_for(lambda: charts.first("plot.data[0].line.color") == "#B8BEC5", 180, "dark colours")
    assert barriers(charts) == []
    charts.page.set_viewport_size(WIDE)
    wait_for(lambda: charts.first("plot._fullLayout.width") > 1000, 180, "a wide chart")
    expect(more).not_to_have_attribute("tabindex", "0")


def test_the_legend_answers_to_the_keyboard(charts: Charts) -> None:
    for pressed in ("false", "true"):
        charts.legend("Vanilla").press("Enter")
        expect(charts.legend("Vanilla")).to_have_attribute("aria-pressed", pressed)
        charts.grow()
        expect(charts.legend("Vanilla")).to_have_attribute("aria-pressed", pressed)


def test_downloads_are_on_white_with_the_colours_of_paper(charts: Charts, tmp_path: Path) -> None:
    charts.page.emulate_media(color_scheme="dark")
    wait_for(lambda: charts.first("plot.data[0].line.color") == "#B8BEC5", 180, "dark colours")
    charts.legend("ASI").click()
    expect(charts.legend("ASI")).to_have_attribute("aria-pressed", "false")
    curves = charts.page.get_by_role("group", name="Growing curves")
    saved = {}
    for kind in ("PNG", "SVG"):
        with charts.page.expect_download() as download:
            curves.get_by_role("button", name=f"Download as {kind}").click()
        assert download.value.suggested_filename == f"Growing_curves.{kind.lower()}"
        download.value.save_as(tmp_path / kind)
        saved[kind] = (tmp_path / kind).read_bytes()
    assert saved["PNG"].startswith(b"\x89PNG")
    svg = saved["SVG"].decode()
    assert "rgb(77, 77, 77)" in svg
    assert "rgb(184, 190, 197)" not in svg
    assert "rgb(255, 255, 255)" in svg
    # A line and five points, both also in the legend; the hidden trace is only in the legend.
    drawn = re.findall(r"(?:stroke|fill): (rgb[^;]*);", svg)
    assert drawn.count("rgb(77, 77, 77)") == 8
    assert drawn.count("rgb(0, 114, 178)") == 2


# What the browser would print is kept, as a printer's dialog cannot be answered.
KEEP_WHAT_IS_PRINTED = """() => {
    const frames = HTMLIFrameElement.prototype;
    const {get} = Object.getOwnPropertyDescriptor(frames, 'contentWindow');
    Object.defineProperty(frames, 'contentWindow', {get() {
        const view = get.call(this);
        if (view) view.print = () => {
            window.printed = view.document.documentElement.outerHTML;
            view.dispatchEvent(new Event('afterprint'));
        };
        return view;
    }});
}"""


def test_a_printed_figure_is_a_page_of_its_size_without_pixels(charts: Charts) -> None:
    charts.page.evaluate(KEEP_WHAT_IS_PRINTED)
    curves = charts.page.get_by_role("group", name="Growing curves")
    curves.get_by_role("button", name="Print, or save as PDF").click()
    wait_for(lambda: charts.page.evaluate("'printed' in window"), 180, "the print dialog")
    assert charts.page.locator("iframe").count() == 0, "nothing is left behind"
    width, height = charts.first("[plot.layout.width, plot.layout.height]")
    paper = charts.page.context.new_page()
    paper.set_content(charts.page.evaluate("printed"))
    assert paper.title() == "Growing_curves"
    pdf = paper.pdf(prefer_css_page_size=True)
    paper.close()
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
    (box,) = re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    # 96 pixels are 72 points.
    assert [float(end) for end in box] == pytest.approx([0.75 * width, 0.75 * height], abs=1)
    assert b"/Font" in pdf, "text is text"
    assert not re.search(rb"/Subtype\s*/Image", pdf)


def test_what_is_taken_off_the_page_is_cleaned_up(charts: Charts) -> None:
    charts.page.evaluate("window.old = document.querySelector('.js-plotly-plot')")
    charts.page.get_by_text("Charts", exact=True).click()
    expect(charts.page.locator(".live-chart")).to_have_count(0)
    wait_for(lambda: charts.page.evaluate("old.data === undefined"), 180, "a purged chart")
    charts.page.get_by_text("Charts", exact=True).click()
    wait_for(lambda: charts.points() == 5, 180, "the chart again")
    assert len([url for url in charts.asked if "plotly.min.js" in url]) == 1


def test_a_library_that_cannot_be_had_is_reported(browser: Browser, charts_app: Server) -> None:
    page = browser.new_context(viewport=WIDE).new_page()
    page.route("**/plotly.min.js", lambda route: route.abort())
    page.goto(charts_app.url)
    message = page.locator(".live-chart", has_text="The chart cannot be drawn")
    expect(message).to_have_count(4, timeout=180_000)
    expect(message.first).to_contain_text("Reload the page.")
    page.unroute("**/plotly.min.js")
    page.get_by_role("button", name="Grow").click()
    expect(page.locator(".live-chart .main-svg").first).to_be_visible(timeout=180_000)
    expect(page.get_by_text("The chart cannot be drawn").locator("visible=true")).to_have_count(0)
    page.context.close()
