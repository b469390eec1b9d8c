"""What links say, before the boxes are drawn, and which of it no box takes.

Streamlit lets a box take its value from the address and drops most of what it cannot take; some
numbers, and nothing where there must be something, make it fail instead. These are dropped here
first. Whatever is dropped is told, and the box has its default.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAPIException

from asi_core.datasets import DATASETS
from asi_core.zoo.cards import MODELS
from dashboard.earlier_links import translate
from dashboard.plain import plain

COMPARISON = "comparison"
_MESSAGE = "links-told"
# What a browser's numbers hold exactly.
_LARGEST = 2**53 - 1
_MOST_MESSAGE_LENGTH, _LONGEST = 5, 40
_NAME = re.compile(r"[\w-]{1,64}", re.ASCII)
# Boxes of any number of choices; those of filters and sweeps are told by how their keys begin.
_MAY_BE_EMPTY = frozenset((*("methods", "models", "poster_methods", "runs"),))
# Links name these as the command line does, or by titles: `model_in_url`, and what Streamlit finds.
_NAMED: dict[str, Mapping[str, Any]] = {"model": MODELS, "dataset": DATASETS}
_TITLED = frozenset(("model", "dataset", "solver", "formula_method", "formula_layer"))


def checked(page: Callable[[], None]) -> Callable[[], None]:
    """A page that tells which parameters of its link were ignored, and why."""

    @wraps(page)
    def drawn() -> None:
        bring_up_to_date()
        message: list[str] = st.session_state.pop(_MESSAGE, [])
        asked = {key: st.query_params.get_all(key) for key in st.query_params}
        place = st.container()
        page()
        message += [
            _ignored(key, texts) for key, texts in asked.items() if not _is_taken(key, texts)
        ]
        if message:
            more = (
                f" {len(message) - _MOST_MESSAGE_LENGTH} more are ignored."
                if len(message) > _MOST_MESSAGE_LENGTH
                else ""
            )
            place.warning(" ".join(message[:_MOST_MESSAGE_LENGTH]) + more)

    return drawn


def bring_up_to_date() -> None:
    """Have the address say what boxes can read; runs the page again if it did not."""
    if _translate() or _drop_unusable() or _spell_titles():
        # Boxes read the address that a run begins with.
        st.rerun()


def model_in_url() -> str | None:
    """Take a model that a link names as the command line does.

    Boxes themselves read and write titles, as a visitor sees them.

    Returns:
        a sentence about a name that there is not.
    """
    named = st.query_params.get("model")
    if named in MODELS and "model" not in st.session_state:
        st.session_state["model"] = named
    elif named is not None and named not in {*MODELS, *(card.title for card in MODELS.values())}:
        unknown = f"The link asks for the model {quoted(named)}, which is unknown:"
        return plain(unknown) + " choose from the list."
    return None


def comparison_in_url() -> tuple[str | None, str | None]:
    """The comparison that the link names, and as it is told; None and its text if it can be none.

    No name of a comparison has other characters or is longer: databases need not be asked.
    """
    asked = st.query_params.get(COMPARISON) or None
    if asked is None:
        return None, None
    return asked if _NAME.fullmatch(asked) else None, quoted(asked)


def quoted(text: str) -> str:
    """Text of a link as it is told: in quotes, and not longer than a line."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def _translate() -> bool:
    """Bring the address of an earlier version's link up to date.

    Returns:
        whether it was changed.
    """
    address = st.query_params.to_dict()
    if not translate(address):
        return False
    st.query_params.from_dict(address)
    return True


def _spell_titles() -> bool:
    """Have the address call models and images as their boxes do, which drop what they do not know.

    Returns:
        whether it was changed.
    """
    changed = False
    for key, cards in _NAMED.items():
        card = cards.get(st.query_params.get(key, ""))
        if card is None or key in st.session_state:
            continue
        with suppress(StreamlitAPIException):
            # Raised where its box was drawn before, and has a value of its own.
            st.query_params[key] = card.title
            changed = True
    return changed


def _drop_unusable() -> bool:
    """Take out of the address what would make Streamlit fail.

    Returns:
        whether anything was taken out.
    """
    message = []
    for key in list(st.query_params):
        reason = _unusable(key, st.query_params[key])
        if reason is None:
            continue
        text = st.query_params[key]
        try:
            del st.query_params[key]
        except StreamlitAPIException:
            # Its box was drawn before, and has a value of its own.
            continue
        message.append(_ignored(key, [text], reason))
    if message:
        st.session_state[_MESSAGE] = message
    return bool(message)


def _unusable(key: str, text: str) -> str | None:
    if key == COMPARISON:
        return None
    if not text.strip():
        may_be_empty = key in _MAY_BE_EMPTY or key.startswith(("only_", "sweep_"))
        return None if may_be_empty else "it is empty"
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number):
        return "it is no finite number"
    return "it is too large a number" if abs(number) > _LARGEST else None


def _is_taken(key: str, texts: list[str]) -> bool:
    """Whether the box of a parameter has what the link asks for; others are nobody's."""
    if key == COMPARISON or key in _TITLED or key not in st.session_state:
        return True
    value = st.session_state[key]
    if isinstance(value, list):
        return len(value) == len([text for text in texts if text])
    # Boxes of numbers put what they have in the place of what they cannot take; all others take
    # what they cannot out of the address, which names some choices by their titles.
    number = _number(text := texts[-1])
    if isinstance(value, int | float) and not isinstance(value, bool) and number is not None:
        return math.isclose(number, value)
    return str(value).casefold() == text.strip().casefold() or key in st.query_params


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _ignored(key: str, texts: list[str], reason: str = "its box does not take it") -> str:
    asked = ", ".join(quoted(text) for text in texts[:2])
    return plain(f"The link's {quoted(key)[1:-1]}={asked} is ignored ({reason}).")
