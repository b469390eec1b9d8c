"""The lecturer's screen: all guesses of a class, as they come in, and the true value on demand."""

from __future__ import annotations

from statistics import median

import streamlit as st

from asi_core.figures.lessons.guess import plot_guesses
from asi_core.runs.store.database import STORE_ERRORS
from dashboard.audience import slowness
from dashboard.frame import answer, figure
from dashboard.learn import address, classes
from dashboard.learn.lesson import Lesson, Question

_POLL_SECONDS = 2.0


def draw_screen(lesson: Lesson, code: str) -> None:
    """Draw the histogram of a class, which follows the guesses, and the link to guess by."""
    first = st.container()
    asked = lesson.question()
    with first:
        st.fragment(_guesses, run_every=_POLL_SECONDS * slowness())(lesson, asked, code)
    st.caption("The link for the class:")
    own = (classes.SCREEN, classes.REVEALED, "present")
    given = {k: text for k, text in address.class_parameters().items() if k not in own}
    st.code(address.class_link(lesson.slug, given), language=None, wrap_lines=True)


def _guesses(lesson: Lesson, asked: Question, code: str) -> None:
    # Counts this screen among the audience, by which all wait longer.
    slowness()
    try:
        found = classes.guesses(code, lesson.slug)
    except STORE_ERRORS:
        # It may answer when the guesses are read next.
        answer("The guesses cannot be read at the moment.")
        return
    shown = lesson.reveal(asked.start) if classes.is_revealed() else None
    message = pooled_guesses(asked, found)
    answer(
        message
        if shown is None
        else f"{message}; it is {asked.written(shown.truth)} {shown.meaning}"
    )
    text, picture = st.columns([2, 3])
    with text:
        st.markdown(asked.text)
        _reveal_button(has_guesses=bool(found))
    with picture:
        plot = plot_guesses(
            found,
            None if shown is None else shown.truth,
            unit=asked.unit,
            span=(asked.low, asked.high),
            step=asked.step,
        )
        caption = "One guess of each browser, without names; they are deleted after 30 days."
        figure(plot, key=f"{lesson.slug}-class", caption=caption)
    if shown is not None:
        st.markdown(shown.explanation)
        st.caption(shown.caption)


def pooled_guesses(asked: Question, guesses: list[float]) -> str:
    """How many guesses there are, and where they lie."""
    if not guesses:
        return "No guesses yet"
    if len(guesses) == 1:
        return f"1 guess: {asked.written(guesses[0])}"
    low, high = asked.written(guesses[0]), asked.written(guesses[-1])
    return (
        f"{len(guesses)} guesses from {low} to {high}, the median {asked.written(median(guesses))}"
    )


def _reveal_button(*, has_guesses: bool) -> None:
    with st.container(key="class-reveal"):
        if classes.is_revealed():
            st.button(
                "Hide the answer",
                key="class-hide",
                icon=":material/visibility_off:",
                on_click=classes.hide,
                help="Shows the guesses alone again.",
            )
        else:
            st.button(
                "Reveal",
                key="class-show",
                type="primary" if has_guesses else "secondary",
                icon=":material/visibility:",
                on_click=classes.reveal,
                help="Marks the true value among the guesses, and explains it.",
            )
