"""The Spectra page in a real browser, on the runs that come with the app."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from tests.browser.app import Server
from tests.browser.visiting import MINUTE, open_page, wait_until_drawn
from tests.waiting import wait_for


def drawn(page: Page, title: str) -> list[list[float]]:
    """The y values of the traces of the figure with this title prefix."""
    script = """title => {
        const plots = [...document.querySelectorAll('.js-plotly-plot')];
        const plot = plots.find(p => p.layout?.title?.text?.startsWith(title));
        return (plot?.data ?? []).map(trace => [...(trace.y ?? [])]);
    }"""
    found: list[list[float]] = page.evaluate(script, title)
    return found


def test_a_visitor_looks_into_a_shipped_run(browser: Browser, server: Server) -> None:
    visit = open_page(browser, f"{server.url}/spectra")
    page = visit.page
    expect(page.get_by_role("heading", name="Why do activations compress?")).to_be_visible()
    expect(page.get_by_text("of the energy of the input")).to_be_visible(timeout=MINUTE)
    wait_until_drawn(page)
    expect(page.locator(".live-chart")).to_have_count(9, timeout=MINUTE)
    wait_until_drawn(page)
    energy = drawn(page, "channel (")[0]
    assert energy[-1] == 100
    page.get_by_test_id("stButtonGroup").get_by_text("Singular values", exact=True).click()
    wait_for(lambda: drawn(page, "channel (")[0][0] == 1, 30, "singular values")
    slider = page.get_by_role("slider", name="Step")
    slider.press("ArrowLeft")
    expect(page.get_by_role("heading", name="at step 125")).to_be_visible(timeout=MINUTE)
    page.wait_for_url("**step=125**")
    wait_until_drawn(page)
    visit.end()
