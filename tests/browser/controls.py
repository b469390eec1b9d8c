"""Reading and changing the controls of a page, as a visitor does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as TooLate

from tests.browser.visiting import MINUTE, wait_until_drawn
from tests.waiting import wait_for

IN_NO_VIEW = {
    "Name, note, delete: Name",
    "Name, note, delete: Note",
    "Link for your class: Fixed controls",
    "Your images",
    "Your language model",
    "Export and import runs: Comparison to export",
    "Glossary",
    "Play",
    "Present",
}
IN_ADDRESS = {"Formulas with these values", "All numbers", "Measure here", "Log", "Reproduce"}
EXPANDER = "stExpander"
# Test id of a kind of control -> JavaScript that reads its displayed value.
READERS = {
    "stSelectbox": "box.querySelector('input').value",
    "stMultiSelect": "texts(box, '[data-tag] [title]')",
    "stSlider": "texts(box, '[data-testid=stSliderThumbValue]')",
    "stNumberInput": "box.querySelector('input').value",
    "stTextInput": "box.querySelector('input').value",
    "stTextArea": "box.querySelector('textarea').value",
    "stRadio": "texts(box, 'label[data-selected]')",
    "stButtonGroup": "texts(box, '[aria-checked=true]')",
    "stCheckbox": "box.querySelector('input').checked ? 'on' : 'off'",
    EXPANDER: "box.querySelector('details').open ? 'open' : 'closed'",
}
# A number whose switch is off cannot be changed before its switch is.
_ENABLED = ":not(:has(:disabled, [disabled], [aria-disabled=true], [data-disabled=true]))"
CONTROLS = ", ".join(
    f"[data-testid={kind}]" + (_ENABLED if kind in ("stNumberInput", "stSlider") else "")
    for kind in READERS
)
# A box keeps a second, hidden copy of its tags in <template>.
TEXTS = """const texts = (part, css) => [...part.querySelectorAll(css)]
    .filter(e => !e.closest('template')).map(e => e.textContent.trim()).join(', ');"""
# Labels are not unique on a page: the name includes the expander or popover around a control.
READ_CONTROLS = f"""css => {{
    {TEXTS}
    const read = {{{", ".join(f"{kind}: box => {value}" for kind, value in READERS.items())}}};
    const title = box => texts(box, 'summary [data-testid=stMarkdownContainer]');
    return [...document.querySelectorAll(css)].map(box => {{
        const kind = box.dataset.testid, around = box.parentElement;
        const drawer = around.closest('[data-testid=stExpander]');
        const popover = around.closest('[data-testid=stPopoverBody]');
        const place = drawer ? title(drawer) : popover?.getAttribute('aria-label');
        const label = '[data-testid=stWidgetLabel] [data-testid=stMarkdownContainer]';
        const name = read[kind] === read.stExpander ? title(box) : texts(box, label);
        // A page that is not about the setup has it, and does not show it.
        const isHidden = around.closest('[data-testid=stSidebar]') && !around.offsetParent;
        return [isHidden ? '' : place ? `${{place}}: ${{name}}` : name, kind, read[kind](box)];
    }});
}}"""
READ_POPOVERS = f"""() => {{
    {TEXTS}
    return [...document.querySelectorAll('[data-testid=stPopover] button:not([disabled])')]
        .filter(button => button.offsetParent)
        .map(button => texts(button, '[data-testid=stMarkdownContainer]'));
}}"""


class Control(NamedTuple):
    """A control on the page; `place` is its index in document order."""

    name: str
    kind: str
    value: str
    place: int


def controls(page: Page) -> list[Control]:
    """The controls that belong to the view; those in a popover only while it is open."""
    found = page.evaluate(READ_CONTROLS, CONTROLS)
    there = [Control(*control, place) for place, control in enumerate(found)]
    return [
        control
        for control in there
        if control.name
        and control.name not in IN_NO_VIEW
        and (control.kind != EXPANDER or control.name in IN_ADDRESS)
    ]


def popovers(page: Page) -> list[str]:
    """Names of popovers that may hold controls; the menus of figures have no name."""
    return [name for name in page.evaluate(READ_POPOVERS) if name and name not in IN_NO_VIEW]


def open_popover(page: Page, name: str) -> None:
    page.get_by_test_id("stPopoverButton").filter(has_text=name, visible=True).click()
    expect(page.get_by_role("dialog", name=name)).to_be_visible()
    wait_until_drawn(page)


def close_popover(page: Page, name: str) -> None:
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name=name)).to_have_count(0)


def choose_one(box: Locator, option: str | None) -> bool:
    """Choose an option of a select box; without a name, another than the chosen one, if any."""
    options = _listed(box)
    others = options.and_(box.page.locator("[aria-selected=false]"))
    found = options.filter(has_text=option) if option else others
    if not found.count():
        box.get_by_role("combobox").press("Escape")
        return False
    wait_for(lambda: _picked(box, found.first), 180, "another option")
    return True


def choose_some(box: Locator, option: str | None) -> bool:
    """Remove the last of several tags; otherwise add one."""
    tags, field = box.get_by_role("button", name="Remove "), box.get_by_role("combobox")
    if tags.count() > 1:
        tags.last.click()
        return True
    before = tags.count()
    found = _listed(box).filter(has_not_text="Select all")
    wait_for(lambda: _picked(box, found.first) or tags.count() > before, 180, "another tag")
    field.press("Escape")
    return True


def _listed(box: Locator) -> Locator:
    """Open a box's list, which a redraw may close again; return its options."""
    field = box.get_by_role("combobox")
    # By attributes: computing the roles of all elements takes long.
    options = box.page.locator("[role=option]")

    def is_open() -> bool:
        if field.get_attribute("aria-expanded") != "true":
            field.click()
        with suppress(TooLate):
            options.first.wait_for(timeout=1000)
        return options.count() > 0

    wait_for(is_open, 180, "the list of options")
    return options


def _picked(box: Locator, option: Locator) -> bool:
    """Click on an option; if its list has closed or moved, open it again."""
    try:
        option.click(timeout=3000)
    except TooLate:
        _listed(box)
        return False
    return True


def slide(box: Locator, option: str | None) -> bool:
    """Move one step on, or back at the end."""
    slider = box.get_by_role("slider")
    at_end = slider.input_value() == slider.get_attribute("max")
    slider.press("ArrowLeft" if at_end else "ArrowRight")
    return True


def count_on(box: Locator, option: str | None) -> bool:
    """Increase a number by a step or a hundredth: boxes show four digits of large numbers."""
    field = box.get_by_role("spinbutton")
    value, step = float(field.input_value()), float(field.get_attribute("step") or 1)
    field.fill(f"{value + max(step, value / 100):g}")
    field.press("Enter")
    return True


def write(box: Locator, option: str | None) -> bool:
    """Write a text that every box accepts: all of them expect numbers separated by commas."""
    field = box.get_by_role("textbox")
    field.fill("1")
    field.press("Enter")
    return True


def press_one(box: Locator, option: str | None) -> bool:
    """Press a radio button or one of a button group; without a name, one that is not chosen."""
    buttons = box.locator("label[data-testid=stRadioOption], button[role=radio]")
    others = buttons.and_(box.page.locator(":not([data-selected])"))
    (buttons.filter(has_text=option) if option else others).first.click()
    return True


def switch(box: Locator, option: str | None) -> bool:
    box.locator("input").press("Space")
    return True


def unfold(box: Locator, option: str | None) -> bool:
    """Open an expander and wait for its content."""
    box.locator("summary").click()
    expect(box.get_by_test_id("stElementContainer").first).to_be_visible(timeout=MINUTE)
    return True


# Kind of control -> function that changes it and returns whether it could.
CHANGERS: dict[str, Callable[[Locator, str | None], bool]] = {
    "stSelectbox": choose_one,
    "stMultiSelect": choose_some,
    "stSlider": slide,
    "stNumberInput": count_on,
    "stTextInput": write,
    "stRadio": press_one,
    "stButtonGroup": press_one,
    "stCheckbox": switch,
    EXPANDER: unfold,
}
