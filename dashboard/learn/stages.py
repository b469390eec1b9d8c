"""The stages of every lesson: predict, run, reveal, take home."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from dashboard.frame import figure
from dashboard.learn import address, classes
from dashboard.learn.controls import Controls
from dashboard.learn.guessing import ask, show_guess
from dashboard.learn.lesson import Lesson, Question


def draw_lesson(lesson: Lesson, *, is_lecturers: bool, class_code: str | None = None) -> None:
    """Draw a lesson: before a guess the question only, after it all stages. A guess is counted in
    the class, if there is one."""
    question = lesson.question()
    controls = Controls(fixes_named=is_lecturers)
    _stage(1, "Predict")
    guess = address.committed_guess(lesson.slug, question.parsed)
    asked, seen = st.columns(2)
    with asked:
        st.markdown(question.text)
        if guess is None:
            ask(lesson.slug, question, class_code)
    with seen:
        plot, caption = lesson.picture()
        figure(plot, key=f"{lesson.slug}-about", caption=caption)
    if guess is not None:
        show_guess(lesson.slug, question, guess, class_code)
        _stage(2, "Run")
        lesson.run(controls)
        _stage(3, "Reveal")
        _reveal(lesson, question, guess)
        _stage(4, "Take home")
        _take_home(lesson, can_leave=not is_lecturers)
    if not is_lecturers:
        _class_link(lesson.slug, controls.values)


def _stage(number: int, name: str) -> None:
    st.subheader(f"{number} · {name}", anchor=False, divider="gray")


def _reveal(lesson: Lesson, question: Question, guess: float) -> None:
    revealed = lesson.reveal(guess)
    guessed, true = question.written(guess), question.written(revealed.truth)
    st.markdown(f"##### You guessed {guessed}; it is {true} {revealed.meaning}.")
    figure(revealed.plot, key=f"{lesson.slug}-answer", caption=revealed.caption)
    st.markdown(revealed.explanation)


def _take_home(lesson: Lesson, *, can_leave: bool) -> None:
    st.markdown(lesson.thought)
    with st.expander("A hint", icon=":material/lightbulb:"):
        st.markdown(lesson.hint)
    if can_leave:
        st.link_button(
            "Run it yourself",
            "train",
            key=f"{lesson.slug}-train",
            icon=":material/model_training:",
            help="Opens the Train page with the settings of these lessons.",
        )


def _class_link(slug: str, values: Mapping[str, str]) -> None:
    with st.expander("Link for your class", icon=":material/cast_for_education:"):
        st.markdown(
            "The link opens only this lesson, without a guess. The controls chosen here are fixed; "
            "your class can change the others. Your screen shows all guesses of your class as they "
            "come in, and the true value when you reveal it."
        )
        fixed = list(values)
        if values:
            fixed = st.multiselect(
                "Fixed controls",
                list(values),
                default=list(values),
                key=f"{slug}-fixed",
                help="With their values above. Remove the ones that your class should try.",
            )
            # Not in the labels: Streamlit drops a choice when its label changes.
            st.caption(", ".join(f"{key} = {values[key]}" for key in fixed))
        else:
            st.caption("To fix controls too, lock in a guess and set them first.")
        chosen = {key: values[key] for key in values if key in fixed}
        of_class = {**chosen, classes.CLASS: classes.code_for(slug, chosen)}
        st.code(address.class_link(slug, of_class), language=None, wrap_lines=True)
        st.link_button(
            "Open your screen",
            address.class_link(slug, {**of_class, classes.SCREEN: "1"}),
            key=f"{slug}-screen",
            icon=":material/bar_chart:",
            help="Opens the histogram of this class in a new window, for the projector.",
        )
