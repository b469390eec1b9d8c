"""What the address of the page says: which lesson, which guess, and whether it is a lecturer's."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import streamlit as st

from asi_core.errors import InvalidInput, one_sentence
from dashboard.learn.lesson import Question
from dashboard.plain import plain

# A link that names a lesson is a lecturer's: it shows that lesson alone.
LESSON, TOPIC = "lesson", "topic"


def is_lecturers() -> bool:
    """Whether the page is opened by a lecturer's link."""
    return LESSON in st.query_params


def committed_guess(slug: str, question: Question) -> float | None:
    """What the visitor has guessed; None before that, and a sentence if a link has it wrong."""
    text = st.query_params.get(_guess_name(slug))
    if text is None:
        return None
    try:
        return question.parsed(text)
    except InvalidInput as error:
        st.warning(f"In the link, {plain(one_sentence(error))}")
        return None


def has_guessed(slug: str) -> bool:
    """Whether there is a guess in a lesson."""
    return _guess_name(slug) in st.query_params


def commit(slug: str, value: float) -> None:
    """Keep a guess."""
    st.query_params[_guess_name(slug)] = f"{value:.6g}"


def withdraw(slug: str) -> None:
    """Forget a guess."""
    st.query_params.pop(_guess_name(slug), None)


def class_link(slug: str, fixed: Mapping[str, str]) -> str:
    """The address of a lesson alone, with these controls fixed and no guess made."""
    return f"{st.context.url or ''}?{urlencode({LESSON: slug, **fixed})}"


def _guess_name(slug: str) -> str:
    return f"{slug}-guess"
