"""The URL parameters of the page: the lesson, the guesses, and whether it is a lecturer's link."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlencode

import streamlit as st

from asi_core.errors import InvalidInput, one_sentence
from dashboard.plain import plain

Value = TypeVar("Value")

# A link with a lesson is a lecturer's: it shows only that lesson.
LESSON, TOPIC = "lesson", "topic"
_GUESS = "-guess"


def is_lecturers() -> bool:
    """Whether the page was opened by a lecturer's link."""
    return LESSON in st.query_params


def parsed(text: str | None, parse: Callable[[str], Value]) -> Value | None:
    """The value of a URL parameter; None without one, and None with a warning if it is invalid."""
    if text is None:
        return None
    try:
        return parse(text)
    except InvalidInput as error:
        st.warning(f"In the link, {plain(one_sentence(error))}")
        return None


def committed_guess(slug: str, parse: Callable[[str], float]) -> float | None:
    """The visitor's guess, as `parsed`."""
    return parsed(st.query_params.get(_guess_name(slug)), parse)


def has_guessed(slug: str) -> bool:
    """Whether the address has a guess for a lesson."""
    return _guess_name(slug) in st.query_params


def commit(slug: str, value: float) -> None:
    """Put a guess into the address."""
    st.query_params[_guess_name(slug)] = f"{value:.6g}"


def withdraw(slug: str) -> None:
    """Remove a guess from the address."""
    st.query_params.pop(_guess_name(slug), None)


def fixed_value(key: str) -> str | None:
    """The text of a control in a lecturer's link, which fixes it; None in other links."""
    return st.query_params.get(key) if is_lecturers() else None


def class_parameters() -> dict[str, str]:
    """What a lecturer's link says besides the lesson: the fixed controls, and the class."""
    given = st.query_params.to_dict().items()
    return {key: text for key, text in given if key != LESSON and not key.endswith(_GUESS)}


def class_link(slug: str, fixed: Mapping[str, str]) -> str:
    """A lecturer's link to a lesson, with these parameters and without a guess."""
    return f"{st.context.url or ''}?{urlencode({LESSON: slug, **fixed})}"


def _guess_name(slug: str) -> str:
    return f"{slug}{_GUESS}"
