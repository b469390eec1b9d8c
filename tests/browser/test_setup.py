"""The setup stays when a visitor changes page: by the menu, a button, Back, reload or a link."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from tests.browser.app import Server
from tests.browser.visiting import MINUTE, open_page, wait_until_drawn
from tests.waiting import wait_for

# Pages with a setup, by their names in the menu, and others between them.
WITH_SETUP = ("Explore", "Train", "Plan")
SETUP = {
    "model": "MobileNetV2",
    "layers": "6",
    "batch_size": "32",
    "image_size": "64",
    "ranks_from": "One rank",
    "rank": "9",
    "bits": "8",
}
READ = """() => Object.fromEntries(
    [...document.querySelectorAll('[data-testid=stSidebar] [class*=st-key-]')].flatMap(box => {
        const key = [...box.classList].find(c => c.startsWith('st-key-')).slice('st-key-'.length);
        const field = box.querySelector('[role=slider], input');
        const value = field?.value ?? field?.getAttribute('aria-valuenow');
        return field ? [[key, value]] : [];
    }))"""


def setup(page: Page) -> dict[str, str]:
    """The values of the sidebar's boxes, by key."""
    wait_until_drawn(page)
    found: dict[str, str] = page.evaluate(READ)
    return {key: found.get(key, "") for key in SETUP} | {"bits": found.get("bits", "")[:1]}


def shows(page: Page, expected: dict[str, str], where: str) -> None:
    """Wait for the setup; a failure shows the actual one."""
    try:
        wait_for(lambda: setup(page) == expected, 180, f"the setup on {where}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {setup(page)}, at {page.url}") from None


def go(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("link", name=name, exact=True)).to_have_attribute(
        "aria-current", "page", timeout=MINUTE
    )
    wait_until_drawn(page)


def test_changing_page_keeps_the_setup(browser: Browser, server: Server) -> None:
    query = "&".join(f"{key}={value.replace(' ', '+')}" for key, value in SETUP.items())
    visit = open_page(browser, f"{server.url}/?{query}")
    page = visit.page
    shows(page, SETUP, "the first page")
    changed = {**SETUP, "layers": "7"}
    page.get_by_role("slider", name="Trained layers").press("ArrowRight")
    page.wait_for_url("**layers=7**")
    page.get_by_role("button", name="Train this").click()
    expect(page.get_by_role("button", name="Train and compare")).to_be_enabled(timeout=MINUTE)
    shows(page, changed, "Train, by the button")
    for name in ("Poster", "Explore", "Train", "Plan"):
        go(page, name)
        if name in WITH_SETUP:
            shows(page, changed, name)
    page.go_back()
    shows(page, changed, "Train, by Back")
    page.go_forward()
    shows(page, changed, "Plan, by Forward")
    page.reload()
    shows(page, changed, "Plan, reloaded")
    other = open_page(browser, page.url)
    shows(other.page, changed, "Plan, by its link")
    other.end()
    visit.end()
