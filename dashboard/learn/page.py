"""The page around the lessons: all five, or the one in a lecturer's link."""

from __future__ import annotations

from functools import partial

import streamlit as st

from dashboard.frame import answer, question
from dashboard.learn import (
    address,
    alternatives,
    classes,
    low_rank,
    memory,
    trade_offs,
    warm_start,
)
from dashboard.learn.evidence import left_out
from dashboard.learn.lesson import Lesson
from dashboard.learn.screen import draw_screen
from dashboard.learn.stages import draw_lesson
from dashboard.left_out import tell_left_out
from dashboard.links import quoted
from dashboard.plain import plain

LESSONS: dict[str, Lesson] = {
    lesson.slug: lesson
    for lesson in (
        memory.LESSON,
        low_rank.LESSON,
        warm_start.LESSON,
        trade_offs.LESSON,
        alternatives.LESSON,
    )
}
_FIRST = next(iter(LESSONS))
_CHOICE = "learn-topic"
_NUMBERS = [str(number) for number in range(1, 1 + len(LESSONS))]


def draw_one(name: str) -> None:
    """Draw the single lesson of a lecturer's link, given by its name or its number from 1."""
    slug = dict(zip(_NUMBERS, LESSONS, strict=True)).get(name, name)
    if slug not in LESSONS:
        question("There is no such lesson")
        st.warning(_unknown(slug))
        for name, lesson in LESSONS.items():
            choose = partial(st.query_params.__setitem__, address.LESSON, name)
            st.button(lesson.title, key=f"lesson-{name}", on_click=choose)
        return
    question(LESSONS[slug].title)
    code = classes.class_code()
    if code is not None and classes.is_screen():
        draw_screen(LESSONS[slug], code)
    else:
        draw_lesson(LESSONS[slug], is_lecturers=True, class_code=code)
    tell_left_out(left_out())


def draw_all() -> None:
    """Draw the choice of a lesson, and the chosen one."""
    question("Five short lessons")
    answer("Guess first, run the experiment, then compare: about ten minutes each.")
    topic = st.query_params.get(address.TOPIC, _FIRST)
    if topic not in LESSONS:
        st.warning(_unknown(topic))
        topic = _FIRST
    st.session_state[_CHOICE] = topic
    st.segmented_control(
        "Lesson",
        list(LESSONS),
        format_func=_label,
        key=_CHOICE,
        required=True,
        on_change=lambda: _open(st.session_state[_CHOICE]),
        help="In any order; a tick marks lessons in which you have guessed.",
    )
    st.header(LESSONS[topic].title, anchor=False)
    draw_lesson(LESSONS[topic], is_lecturers=False)
    tell_left_out(left_out())
    _next(topic)


def _label(slug: str) -> str:
    number = 1 + list(LESSONS).index(slug)
    mark = ":material/check: " if address.has_guessed(slug) else ""
    return f"{mark}{number} · {LESSONS[slug].title}"


def _open(slug: str) -> None:
    st.query_params[address.TOPIC] = slug


def _next(topic: str) -> None:
    later = list(LESSONS)[list(LESSONS).index(topic) + 1 :]
    if later and address.has_guessed(topic):
        st.button(
            f"Next: {LESSONS[later[0]].title}",
            key="learn-next",
            icon=":material/arrow_forward:",
            on_click=_open,
            args=(later[0],),
            help="Opens the next lesson.",
        )


def _unknown(slug: str) -> str:
    return plain(
        f"The link asks for the lesson {quoted(slug)}, which is unknown: choose one of these."
    )
