"""The guess of a lesson: asked for, locked in, and shown."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from asi_core.errors import InvalidInput
from dashboard.learn import address, classes
from dashboard.learn.lesson import Question
from dashboard.plain import plain


def ask(slug: str, question: Question, class_code: str | None) -> None:
    """Draw the slider and the button of a guess, which is counted in the class if there is one."""
    with st.container(key="lesson-guess"):
        _guess_box(slug, question, class_code)
    counted = "" if class_code is None else " The lecturer's screen counts it, without a name."
    st.caption(f"The experiment and the answer open after your guess.{counted}")


def show_guess(slug: str, question: Question, guess: float, class_code: str | None) -> None:
    """Draw the guess, a button to guess again, and why it is not counted, if it is not."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"Your guess: **{question.written(guess)}**", width="content")
        st.button(
            "Guess again",
            key=f"{slug}-again",
            icon=":material/replay:",
            on_click=address.withdraw,
            args=(slug,),
            help="Hides the answer and lets you change your guess.",
        )
    if class_code is not None and (reason := classes.problem()) is not None:
        st.warning(f"Your guess is not among those of your class: {plain(reason)}")


def _guess_box(slug: str, question: Question, class_code: str | None) -> None:
    st.slider(
        question.label,
        question.low,
        question.high,
        question.start,
        question.step,
        format=f"%g {question.unit.replace('%', '%%')}",
        key=_widget(slug),
        help="Any guess will do: a wrong one teaches more.",
    )
    st.button(
        "Lock in my guess",
        key=f"{slug}-commit",
        type="primary",
        icon=":material/lock:",
        on_click=_lock_in,
        args=(slug, question, class_code),
        help="Opens the rest of the lesson: run, reveal and take home.",
    )


def _lock_in(slug: str, question: Question, class_code: str | None) -> None:
    value = st.session_state[_widget(slug)]
    address.commit(slug, value)
    # A client other than the app's own may send any number; the page then reports it.
    with suppress(InvalidInput):
        guess = question.parsed(f"{value:.6g}")
        if class_code is not None:
            classes.count_guess(class_code, slug, guess)


def _widget(slug: str) -> str:
    return f"{slug}-slider"
