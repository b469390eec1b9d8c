"""Planning in a real browser, with a real worker."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from tests.browser.app import Server
from tests.browser.visiting import MINUTE, Visit, open_page, wait_until_drawn


def open_plan(browser: Browser, training_server: Server) -> Visit:
    visit = open_page(browser, f"{training_server.url}/plan")
    expect(visit.page.get_by_role("heading", name="Which ranks fit")).to_be_visible()
    return visit


def enter(page: Page, label: str, value: int) -> None:
    box = page.get_by_role("spinbutton", name=label)
    box.fill(str(value))
    box.press("Enter")
    wait_until_drawn(page)


def test_a_visitor_plans_changes_the_budget_and_trains(
    browser: Browser, training_server: Server
) -> None:
    visit = open_plan(browser, training_server)
    page = visit.page
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
    visit.end()


def test_other_layers_are_calibrated_by_the_worker(
    browser: Browser, training_server: Server
) -> None:
    visit = open_plan(browser, training_server)
    page = visit.page
    layers = page.get_by_role("slider", name="Trained layers")
    for _ in range(2):
        layers.press("ArrowLeft")
    expect(layers).to_have_value("2")
    for label, value in (("Batch size", 8), ("Image size", 32)):
        enter(page, label, value)
    enter(page, "Budget, KiB", 8)
    expect(page.get_by_text("There is no calibration yet of")).to_be_visible()
    page.get_by_role("button", name="Calibrate these layers").click()
    expect(page.get_by_text("Within 8 KiB the best ranks keep")).to_be_visible(timeout=2 * MINUTE)
    wait_until_drawn(page)
    visit.end()
