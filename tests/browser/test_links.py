"""A link shows the same view in another window, on every page.

A visitor changes every control that a page offers, copies the address and opens it in a window
without a history: all controls must stand as they were left, and answers, numbers and figures must
say the same. Left out is what belongs to no view: buttons, downloads, upload boxes, a lesson's link
for the class, the forms that name, note, delete and take along runs, the search in the glossary,
and playing through steps, which is a movement (the step itself is in the link). Rows and points
that are selected stand in the box "Runs in detail". Of expanders, those count that the address
knows of.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.app import Server
from tests.browser.controls import (
    CHANGERS,
    CONTROLS,
    Control,
    close_popover,
    controls,
    open_popover,
    popovers,
)
from tests.browser.visiting import MINUTE, WATCH_RUNS, Visit, open_window, wait_until_drawn
from tests.waiting import wait_for

READ_WORDS = """() => ['stHeading', 'stMarkdown', 'stMetric', 'stAlert', 'stTable']
    .flatMap(kind => [...document.querySelectorAll(`[data-testid=${kind}]`)])
    .map(part => part.textContent.trim())"""
# null: a figure that is not drawn yet.
READ_FIGURES = """() => [...document.querySelectorAll('[data-testid=stBidiComponentRegular]')]
    .map(part => {
        const plot = part.querySelector('.js-plotly-plot');
        if (!plot?._fullLayout) return null;
        const {title, xaxis, yaxis} = plot._fullLayout;
        const names = plot._fullData.map(trace => trace.name);
        return [title?.text, xaxis?.type, yaxis?.type, ...names].join(' | ');
    })"""
# The end of the previous script run may arrive late.
SETTLED = """before => runs.asked > before && runs.isOver
    && document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'
    && !document.querySelector('[data-testid=stSkeleton], [data-stale=true]')"""
# A click is lost if a redraw moves the control away.
TRIES = 3
PAINTED = "() => new Promise(seen => requestAnimationFrame(() => setTimeout(seen)))"


@dataclass(frozen=True)
class Tour:
    """What a visitor does on a page.

    Attributes:
        rounds: in each, options by control are chosen first; None leaves a control as it is until
            another round. Then all other controls that were not changed before get another value.
        button: pressed when all controls have been changed, for more of them.
        last: heading of what is drawn last, if that comes after all else has been drawn.
    """

    path: str
    rounds: tuple[Mapping[str, str | None], ...] = ({},)
    button: str | None = None
    last: str | None = None


RANKS = "Ranks from"
# The plan of the first view has been calibrated, so that its numbers are known.
CALIBRATED = (
    "Model",
    "Images",
    "Trained layers (of 49)",
    "Batch size",
    "Image size, pixels",
    "Seed",
)
# Changing these would leave no runs to choose and compare.
FEWER = ("Filter: Methods", "Filter: Comparisons", "Runs in detail")
TOURS = (
    Tour(
        "",
        ({RANKS: "Explained variance"}, {RANKS: "One rank"}, {RANKS: "Ranks per mode"}),
        last="Which devices does it fit?",
    ),
    Tour(
        "step",
        # Of one rank there is a formula, which is computed at once.
        ({RANKS: "One rank"},),
    ),
    Tour("train", ({RANKS: "Explained variance"}, {RANKS: "One rank"}, {RANKS: "Ranks per mode"})),
    Tour("spectra"),
    Tour("compare", (dict.fromkeys(FEWER), {})),
    Tour("plan", (dict.fromkeys(CALIBRATED), {})),
    Tour("poster"),
    Tour(
        "learn",
        tuple({"Lesson": f"{number} · "} for number in (1, 2, 3, 4, 5)),
        button="Lock in my guess",
    ),
)


def seen(page: Page) -> dict[str, str]:
    """The content of a page: controls with values, figures with axes, and all text."""
    wait_for(lambda: None not in page.evaluate(READ_FIGURES), 180, "all figures drawn")
    there = controls(page)
    for name in popovers(page):
        open_popover(page, name)
        there += [control for control in controls(page) if control.name.startswith(f"{name}: ")]
        close_popover(page, name)
    message = {
        f"{kind} {number}": text
        for kind, script in (("figure", READ_FIGURES), ("text", READ_WORDS))
        for number, text in enumerate(page.evaluate(script), start=1)
    }
    values = {control.name: control.value for control in there}
    assert len(values) == len(there), "two controls have the same name"
    return values | message


class Visitor:
    """A visitor who changes every control of a page.

    Attributes:
        done: names of the controls that have been changed.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.done: set[str] = set()
        page.evaluate(WATCH_RUNS)

    def go_round(self, choices: Mapping[str, str | None], button: str | None) -> None:
        """Make the choices, then change all other controls, also in popovers."""
        for name, option in choices.items():
            control = next(control for control in controls(self.page) if control.name == name)
            if option is not None and option not in control.value:
                self._change(control, option)
        self._change_all(choices)
        if button and self.page.get_by_role("button", name=button).count():
            before = self._runs_asked()
            self.page.get_by_role("button", name=button).click()
            self._await_run(before, f"the run after {button}")
            self._change_all(choices)
        for name in popovers(self.page):
            open_popover(self.page, name)
            self._change_all(choices)
            close_popover(self.page, name)

    def unchanged(self, page: Page, choices: Container[str]) -> list[Control]:
        """Controls of a page that still have their first values."""
        known = controls(page)
        return [c for c in known if c.name not in self.done and c.name not in choices]

    def _change_all(self, choices: Container[str]) -> None:
        """Change them one after the other: each change may add or remove controls."""
        while left := self.unchanged(self.page, choices):
            if self._change(left[0]):
                self.done.add(left[0].name)

    def _change(self, control: Control, option: str | None = None) -> bool:
        """Change a control if possible; return whether it was still there."""
        if control not in controls(self.page):
            # A redraw has removed it.
            return False
        box = self.page.locator(CONTROLS).nth(control.place)
        around = box.locator("xpath=ancestor::details[not(@open)]")
        if around.count():
            around.locator("summary").click()
        # Scrolling the page closes a list of options.
        box.scroll_into_view_if_needed()
        self.page.evaluate(PAINTED)
        before = self._runs_asked()
        for _ in range(TRIES):
            if not CHANGERS[control.kind](box, option):
                return True
            with suppress(AssertionError):
                wait_for(lambda: self._runs_asked() > before, 180, "a run")
            if self._runs_asked() > before:
                self._await_run(before, f"the run after a change of {control}")
            # Late is not lost: once more would change it back. But the run may have been that of a
            # part of the page that refreshes itself.
            with suppress(AssertionError):
                wait_for(lambda: control not in controls(self.page), 180, "the change")
                return True
        raise AssertionError(f"{control} has not changed")

    def _runs_asked(self) -> int:
        return int(self.page.evaluate("runs.asked"))

    def _await_run(self, before: int, what: str) -> None:
        """Wait for the end of the script run after a change; `before` counts earlier requests."""
        wait_for(lambda: self.page.evaluate(SETTLED, before), 60, what)
        self.page.evaluate(PAINTED)


def differences(here: Page, there: Page) -> list[str]:
    """The differences between two windows, one line each."""
    mine, theirs = seen(here), seen(there)
    names = [name for name in mine | theirs if mine.get(name) != theirs.get(name)]
    return [f"{name}: {mine.get(name)!r}, by the link {theirs.get(name)!r}" for name in names]


def lost(here: Page, there: Page) -> list[str]:
    """The differences that remain after both pages have been drawn."""
    found = differences(here, there)
    if found:
        with suppress(AssertionError):
            wait_for(lambda: not differences(here, there), 180, "the same view")
        found = differences(here, there)
    return found


def follow(window: Visit, link: str, tour: Tour) -> Page:
    """Open an address in a window, and wait until it is drawn."""
    page = window.page
    window.open(link)
    if tour.last:
        expect(page.get_by_role("heading", name=tour.last)).to_be_visible(timeout=MINUTE)
        wait_until_drawn(page)
    return page


@pytest.fixture(scope="module")
def windows(browser: Browser, server: Server) -> Iterator[tuple[Visit, Visit]]:
    """The visitor's window, and another one that only opens links."""
    both = open_window(browser, server.url), open_window(browser, server.url)
    yield both
    for window in both:
        window.end()


@pytest.mark.parametrize("tour", TOURS, ids=lambda tour: tour.path or "explore")
def test_a_link_shows_the_same_view(
    windows: tuple[Visit, Visit], server: Server, tour: Tour
) -> None:
    mine, theirs = windows
    page = follow(mine, f"{server.url}/{tour.path}", tour)
    visitor, missed = Visitor(page), []
    for choices in tour.rounds:
        visitor.go_round(choices, tour.button)
        there = follow(theirs, page.url, tour)
        missed += lost(page, there)
        assert not visitor.unchanged(there, choices), "a control was left out"
    assert missed == []
