"""Training and planning in a real browser, with a real worker."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.app import Server
from tests.browser.visiting import MINUTE, NARROW, WIDE, Visit, open_page, wait_until_drawn
from tests.waiting import wait_for

# Two methods and a reference: each is another run, and another curve to draw again and again.
_METHODS = "methods=Vanilla&methods=ASI&layers=2"
SHORT = f"?{_METHODS}&steps=24&image_size=64&batch_size=32"
LONG = f"?{_METHODS}&steps=5000&image_size=32&batch_size=32"
TINY = "?steps=2&image_size=32&batch_size=16"


@pytest.fixture
def visits(browser: Browser, training_server: Server) -> Iterator[list[Visit]]:
    """Opens pages for a test; fails if one has logged an error."""
    opened: list[Visit] = []
    yield opened
    for visit in opened:
        assert not visit.problems, visit.problems
        if not visit.page.is_closed():
            visit.page.close()


def visit(browser: Browser, visits: list[Visit], url: str, width: int = WIDE) -> Page:
    visits.append(open_page(browser, url, width=width))
    page = visits[-1].page
    expect(button(page, "Train and compare")).to_be_enabled(timeout=MINUTE)
    return page


def button(page: Page, name: str):  # type: ignore[no-untyped-def]
    # To its end: "Cancel all" is another button. Icons stand before a name.
    return page.get_by_role("button", name=re.compile(f"{re.escape(name)}$"))


def points(page: Page, title: str) -> int:
    """How many points the first curve of a figure has; raises if the page shows an error."""
    alerts = page.get_by_role("alert").all_inner_texts()
    assert not alerts, alerts
    script = """title => {
        const plots = [...document.querySelectorAll('.js-plotly-plot')];
        const plot = plots.find(p => p.layout?.title?.text?.includes(title));
        return plot?.data?.[0]?.x?.length ?? 0;
    }"""
    return int(page.evaluate(script, title))


def in_sight(page: Page, title: str) -> bool:
    """Whether a figure has points, and its axes include all of them."""
    script = """title => {
        const plots = [...document.querySelectorAll('.js-plotly-plot')];
        const plot = plots.find(p => p.layout?.title?.text?.includes(title));
        const { xaxis, yaxis } = plot._fullLayout;
        const within = (axis, values) =>
            values.every(v => axis.range[0] <= v && v <= axis.range[1]);
        return plot.data[0].x.length > 0 && plot.data.every(
            trace => within(xaxis, [...trace.x]) && within(yaxis, [...trace.y]));
    }"""
    return bool(page.evaluate(script, title))


def test_a_visitor_compares_leaves_and_comes_back(
    browser: Browser, training_server: Server, visits: list[Visit]
) -> None:
    page = visit(browser, visits, training_server.url + "/train" + SHORT)
    expect(page.get_by_role("heading", name="What does compression cost")).to_be_visible()
    button(page, "Train and compare").click()
    # Before, the figures show the shipped runs.
    expect(button(page, "Cancel")).to_have_count(3)
    wait_for(lambda: points(page, "Training loss") in range(1, 24), 200, "the first points")
    some = points(page, "Training loss")
    wait_for(lambda: points(page, "Training loss") in range(some + 1, 25), 200, "a growing curve")
    for title in ("Training loss", "Test accuracy"):
        wait_for(lambda t=title: in_sight(page, t), 180, f"all of {title}")
    expect(page.get_by_text("Why activations compress")).to_be_visible(timeout=MINUTE)
    wait_for(lambda: points(page, "Spectra") > 0, 180, "the spectra")
    page.close()

    again = visit(browser, visits, training_server.url + "/train")
    expect(again.get_by_text("completed after 24 steps")).to_have_count(3, timeout=2 * MINUTE)
    expect(again.get_by_text("ASI keeps", exact=False)).to_be_visible()
    wait_for(lambda: points(again, "Test accuracy") >= 8, 180, "the finished curve")


def test_a_run_is_cancelled_while_the_others_go_on(
    browser: Browser, training_server: Server, visits: list[Visit]
) -> None:
    page = visit(browser, visits, training_server.url + "/train" + LONG)
    button(page, "Train and compare").click()
    expect(button(page, "Cancel")).to_have_count(3)
    expect(page.get_by_text(" of 5000")).not_to_have_count(0, timeout=2 * MINUTE)
    button(page, "Cancel").nth(1).click()
    expect(page.get_by_text("cancelled after")).to_have_count(1, timeout=3 * MINUTE)
    expect(button(page, "Cancel")).to_have_count(2)
    for left in (1, 0):
        button(page, "Cancel").first.click()
        expect(button(page, "Cancel")).to_have_count(left, timeout=3 * MINUTE)
    expect(page.get_by_text("cancelled after")).to_have_count(3)


def test_wrong_input_is_reported_on_the_page(
    browser: Browser, training_server: Server, visits: list[Visit]
) -> None:
    page = visit(browser, visits, training_server.url + "/train")
    box = page.get_by_role("spinbutton", name="Batch size")
    box.fill("5001")
    box.press("Enter")
    expect(page.get_by_text("batch size must be at most 5000")).to_be_visible()
    expect(button(page, "Train and compare")).to_be_disabled()


def test_nothing_overflows_on_a_phone(
    browser: Browser, training_server: Server, visits: list[Visit]
) -> None:
    page = visit(browser, visits, training_server.url + "/train" + TINY, width=NARROW)
    button(page, "Train and compare").click()
    expect(page.get_by_text("completed after 2 steps")).to_have_count(5, timeout=4 * MINUTE)
    wait_for(lambda: points(page, "Spectra"), 200, "the last figure of the page")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW


def test_a_visitor_plans_changes_the_budget_and_trains(
    browser: Browser, training_server: Server
) -> None:
    opened = open_page(browser, f"{training_server.url}/plan")
    page = opened.page
    expect(page.get_by_role("heading", name="Which ranks fit")).to_be_visible()
    expect(page.get_by_text("Within 256 KiB the best ranks keep")).to_be_visible()
    page.get_by_test_id("stButtonGroup").get_by_text("64 KiB", exact=True).click()
    expect(page.get_by_text("Within 64 KiB the best ranks keep")).to_be_visible()
    page.wait_for_url("**budget_kib=64**")
    page.get_by_role("button", name="Train this plan").click()
    expect(page.get_by_role("heading", name="What does compression cost")).to_be_visible(
        timeout=MINUTE
    )
    cancel = page.get_by_role("button", name="Cancel", exact=True)
    expect(cancel).to_have_count(4, timeout=2 * MINUTE)
    for left in (3, 2, 1, 0):
        cancel.first.click()
        expect(cancel).to_have_count(left, timeout=MINUTE)
    opened.end()


def test_other_layers_are_calibrated_by_the_worker(
    browser: Browser, training_server: Server
) -> None:
    small = "layers=2&batch_size=8&image_size=32&budget_kib=8"
    opened = open_page(browser, f"{training_server.url}/plan?{small}")
    page = opened.page
    expect(page.get_by_text("There is no calibration yet of")).to_be_visible()
    page.get_by_role("button", name="Calibrate these layers").click()
    expect(page.get_by_text("Within 8 KiB the best ranks keep")).to_be_visible(timeout=2 * MINUTE)
    wait_until_drawn(page)
    opened.end()
