"""The guesses of a class: counted by the link for the class, shown on the lecturer's screen."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from urllib.parse import urlencode

import streamlit as st

from asi_core.errors import AsiError, InvalidInput, one_sentence
from asi_core.runs.store.database import STORE_ERRORS, silence_of
from asi_core.runs.store.guesses import CLASS_CODE
from asi_core.settings import read_settings
from dashboard import services, visitor
from dashboard.learn.address import parsed
from dashboard.links import quoted

CLASS, SCREEN, REVEALED = "class", "screen", "revealed"
_SECRET, _PROBLEM = "learn-secret", "learn-problem"
# Without letters and digits that look alike.
_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
_CODE_LENGTH, _GUESSER_LENGTH = 8, 32


def class_code() -> str | None:
    """The class in the link; None without one, and with a warning if it is invalid."""
    return parsed(st.query_params.get(CLASS), _checked_code)


def code_for(slug: str, fixed: Mapping[str, str]) -> str:
    """The code of this session's class for a lesson with these controls fixed. It is the same until
    the page is opened again, and another for another question."""
    digest = _digest(_session_secret(), slug, urlencode(sorted(fixed.items())))
    letters = (_LETTERS[byte % len(_LETTERS)] for byte in digest[:_CODE_LENGTH])
    return "".join(letters)


def is_screen() -> bool:
    """Whether the page was opened as the lecturer's screen."""
    return SCREEN in st.query_params


def is_revealed() -> bool:
    """Whether the lecturer's screen shows the true value."""
    return REVEALED in st.query_params


def reveal() -> None:
    """Show the true value on the lecturer's screen."""
    st.query_params[REVEALED] = "1"


def hide() -> None:
    """Hide the true value again."""
    st.query_params.pop(REVEALED, None)


def count_guess(code: str, slug: str, value: float) -> None:
    """Count this visitor's guess, in place of an earlier one; `problem` says why that failed."""
    st.session_state.pop(_PROBLEM, None)
    try:
        read_settings().check_may_change()
        services.guesses().put(code, slug, _guesser(code), value)
    except AsiError as error:
        st.session_state[_PROBLEM] = one_sentence(error)
    except STORE_ERRORS as error:
        st.session_state[_PROBLEM] = one_sentence(silence_of(error))


def problem() -> str | None:
    """Why the last guess was not counted, in one sentence; None if it was."""
    found: str | None = st.session_state.get(_PROBLEM)
    return found


def guesses(code: str, slug: str) -> list[float]:
    """All guesses of a class, ascending."""
    return services.guesses().values(code, slug)


def _guesser(code: str) -> str:
    """A name for this browser in this class alone.

    It is made of the browser's secret, which no table has: who guessed cannot be found, nor whether
    two classes had the same guest.
    """
    secret = visitor.browser_secret() or _session_secret()
    return _digest(secret, code).hex()[:_GUESSER_LENGTH]


def _session_secret() -> str:
    found: str = st.session_state.setdefault(_SECRET, secrets.token_urlsafe(32))
    return found


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\n".join(parts).encode()).digest()


def _checked_code(text: str) -> str:
    if not CLASS_CODE.fullmatch(text):
        raise InvalidInput(
            "class must be a code of 8 letters and digits", quoted(text), "ask for the link again"
        )
    return text
