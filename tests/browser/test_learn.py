"""A lesson in a real browser, on a phone and by a lecturer's link."""

from __future__ import annotations

from playwright.sync_api import Browser, Page, expect

from tests.browser.app import Server
from tests.browser.visiting import MINUTE, NARROW, Visit, open_page, wait_until_drawn
from tests.waiting import wait_for


def by_the_menu(browser: Browser, server: Server) -> Visit:
    """The Learn page on a phone, reached by the navigation, which covers the page there."""
    visit = open_page(browser, server.url, width=NARROW)
    visit.page.get_by_test_id("stExpandSidebarButton").click()
    visit.page.get_by_role("link", name="Learn").click()
    expect(visit.page.get_by_role("heading", name="Five short lessons")).to_be_visible(
        timeout=MINUTE
    )
    visit.page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
    wait_until_drawn(visit.page)
    return visit


def title_of(page: Page, chart: str) -> int:
    """How many charts with this title have been drawn."""
    script = """title => [...document.querySelectorAll('.live-chart .js-plotly-plot')]
        .filter(plot => plot.layout?.title?.text?.includes(title)).length"""
    return int(page.evaluate(script, chart))


def test_a_student_guesses_and_sees_on_a_phone(browser: Browser, server: Server) -> None:
    visit = by_the_menu(browser, server)
    page = visit.page
    expect(page.get_by_role("heading", name="3 · Reveal")).to_have_count(0)
    slider = page.get_by_role("slider", name="Kept inputs")
    for _ in range(3):
        slider.press("ArrowRight")
    page.get_by_role("button", name="Lock in my guess").click()
    expect(page.get_by_role("heading", name="3 · Reveal")).to_be_visible(timeout=MINUTE)
    expect(page.get_by_text("You guessed 5")).to_be_visible()
    wait_for(lambda: title_of(page, "Your guess and the truth"), 180, "guess and truth")
    page.wait_for_url("**memory-guess=5**")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW
    main = page.get_by_test_id("stMain")
    assert main.evaluate("e => e.scrollWidth - e.clientWidth") <= 0
    page.get_by_role("slider", name="Trained layers").press("ArrowLeft")
    page.wait_for_url("**layers=48**")
    address = page.url
    visit.end()

    again = open_page(browser, address, width=NARROW)
    expect(again.page.get_by_text("You guessed 5")).to_be_visible(timeout=MINUTE)
    expect(again.page.get_by_role("slider", name="Trained layers")).to_have_value("48")
    again.page.close()


def test_a_class_follows_the_lecturers_link(browser: Browser, server: Server) -> None:
    visit = open_page(browser, f"{server.url}/learn")
    page = visit.page
    page.get_by_text("3 · Why a warm start works").click()
    expect(page.get_by_role("slider", name="Share of their energy")).to_be_visible()
    page.get_by_role("button", name="Lock in my guess").click()
    angle = page.get_by_role("slider", name="Turn per step")
    angle.press("ArrowRight")
    page.wait_for_url("**angle=15**")
    page.get_by_text("Link for your class").click()
    code = page.get_by_test_id("stCode").last
    expect(code).to_contain_text("angle=15")
    link = code.inner_text().strip()
    assert link.startswith(f"{server.url}/learn?lesson=warm-start")
    screen_link = page.get_by_role("link", name="Open your screen").get_attribute("href")
    visit.end()
    # As on the projector.
    screen = open_page(browser, f"{screen_link}&present=1")
    expect(screen.page.get_by_text("No guesses yet")).to_be_visible()

    student = open_page(browser, link).page
    expect(student.get_by_role("heading", name="Why a warm start works")).to_be_visible(
        timeout=MINUTE
    )
    expect(student.get_by_role("link", name="Explore")).to_have_count(0)
    student.get_by_role("button", name="Lock in my guess").click()
    fixed = student.get_by_role("slider", name="Turn per step")
    expect(fixed).to_have_value("15", timeout=MINUTE)
    expect(fixed).to_be_disabled()
    student.close()
    expect(screen.page.get_by_text("1 guess: 50")).to_be_visible()
    screen.page.get_by_role("button", name="Reveal").click()
    expect(screen.page.get_by_text("; it is ")).to_be_visible()
    screen.page.wait_for_url("**revealed=1**")
    wait_until_drawn(screen.page)
    screen.end()


def test_a_reader_searches_the_glossary(browser: Browser, server: Server) -> None:
    visit = open_page(browser, f"{server.url}/learn")
    page = visit.page
    page.get_by_role("button", name="Glossary").click()
    box = page.get_by_role("textbox", name="Search")
    box.fill("unfolding")
    box.press("Enter")
    expect(page.get_by_text("A tensor reshaped into a matrix")).to_be_visible()
    expect(page.get_by_text("Plain back-propagation: every")).to_have_count(0)
    visit.end()
