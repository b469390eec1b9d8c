"""The poster's table in a real browser."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.browser.app import Server
from tests.browser.visiting import MINUTE, open_page, wait_until_drawn


def test_the_table_is_filtered_and_counted_otherwise(browser: Browser, server: Server) -> None:
    visit = open_page(browser, f"{server.url}/poster")
    page = visit.page
    expect(page.get_by_text("cells equal the printed digits")).to_be_visible(timeout=MINUTE)
    expect(page.get_by_role("cell", name="1651.84")).to_have_count(2)
    page.get_by_test_id("stButtonGroup").get_by_text("exact", exact=True).click()
    expect(page.get_by_text("Counted as the code executes it")).to_be_visible()
    page.wait_for_url("**convention=exact**")
    wait_until_drawn(page)
    visit.end()
