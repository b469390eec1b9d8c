"""URL parameters: checked before the boxes are drawn, and reported if a box ignores them.

Streamlit takes a box's value from the address and drops most invalid values, but some numbers and
empty values make it fail. These are dropped here first. Every dropped value is reported, and its
box has the default.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import wraps

import streamlit as st
from streamlit.errors import StreamlitAPIException

from asi_core.datasets import DATASETS
from asi_core.zoo.outside import title_of
from dashboard.decoders import model_choices
from dashboard.earlier_links import translate
from dashboard.plain import plain

COMPARISON = "comparison"
_MESSAGES = "links-messages"
_PUT = "links-put"
_CLEARED = "links-cleared"
# The largest integer that a browser represents exactly.
_LARGEST = 2**53 - 1
_MOST_MESSAGES, _LONGEST = 5, 40
_NAME = re.compile(r"[\w-]{1,64}", re.ASCII)
# Multiselect and text boxes; filters and sweeps are recognised by the prefix of their keys.
_MAY_BE_EMPTY = frozenset(
    ("methods", "models", "poster_methods", "runs", "step_methods", "layer_names")
)
# Links may give these by name or by title.
_NAMED = ("model", "dataset")
_TITLED = frozenset(("model", "dataset", "solver", "formula_method", "formula_layer"))


def checked(page: Callable[[], None]) -> Callable[[], None]:
    """Make a page report which parameters of its link were ignored, and why."""

    @wraps(page)
    def drawn() -> None:
        bring_up_to_date()
        messages: list[str] = st.session_state.pop(_MESSAGES, [])
        given = {key: st.query_params.get_all(key) for key in st.query_params}
        place = st.container()
        page()
        put_here = st.session_state.pop(_PUT, set())
        messages += [
            _ignored(key, texts)
            for key, texts in given.items()
            if key not in put_here and not _is_taken(key, texts)
        ]
        if messages:
            others = len(messages) - _MOST_MESSAGES
            more = f" {others} more are ignored." if others > 0 else ""
            place.warning(" ".join(messages[:_MOST_MESSAGES]) + more)

    return drawn


def put(key: str, value: object) -> None:
    """Give a box another value, for callbacks: the address has the one before for one more run, and
    nothing of it is ignored."""
    st.session_state[key] = value
    st.session_state.setdefault(_PUT, set()).add(key)


def address_was_cleared() -> None:
    """Note that Streamlit has cleared the address, as it does when a script switches the page."""
    st.session_state[_CLEARED] = True


def write_again(keys: Iterable[str]) -> None:
    """Have the boxes of these keys, not yet drawn, write their values into a cleared address.

    Streamlit writes them only if the browser sends nothing else while the page is switched.
    """
    if st.session_state.pop(_CLEARED, False):
        for key in keys:
            if key in st.session_state:
                st.session_state[key] = st.session_state[key]


def bring_up_to_date() -> None:
    """Make the address readable for the boxes; rerun the script if it was changed."""
    if _translate() or _drop_unusable() or _spell_titles():
        # Boxes read the address with which a script run begins.
        st.rerun()


def model_in_url() -> str | None:
    """Choose a model that a link gives by name, while boxes use titles; return a sentence if it is
    unknown."""
    named = st.query_params.get("model")
    names = model_choices()
    if named in names and "model" not in st.session_state:
        st.session_state["model"] = named
    elif named is not None and named not in {*names, *map(title_of, names)}:
        unknown = f"The link asks for the model {quoted(named)}, which is unknown:"
        return plain(unknown) + " choose from the list."
    return None


def comparison_in_url() -> tuple[str | None, str | None]:
    """The comparison id in the link, None if it cannot be one; and its text for messages."""
    name = st.query_params.get(COMPARISON) or None
    if name is None:
        return None, None
    return name if _NAME.fullmatch(name) else None, quoted(name)


def quoted(text: str) -> str:
    """Text of a link for messages: in quotes, and shortened to a line."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def _translate() -> bool:
    """Translate the address of an earlier version's link; return whether it was changed."""
    address = st.query_params.to_dict()
    if not translate(address):
        return False
    st.query_params.from_dict(address)
    return True


def _spell_titles() -> bool:
    """Replace names of models and images in the address by titles, which their boxes need; return
    whether it was changed."""
    changed = False
    for key in _NAMED:
        title = _title(key, st.query_params.get(key, ""))
        if title is None or key in st.session_state:
            continue
        with suppress(StreamlitAPIException):
            # Raised if the box was drawn before, and so has a value.
            st.query_params[key] = title
            changed = True
    return changed


def _title(key: str, name: str) -> str | None:
    """The title of a model or of images; None for an unknown name."""
    if key == "model":
        return title_of(name) if name in model_choices() else None
    return DATASETS[name].title if name in DATASETS else None


def _drop_unusable() -> bool:
    """Remove values from the address that would make Streamlit fail; return whether there were
    any."""
    messages = []
    for key in list(st.query_params):
        reason = _unusable(key, st.query_params[key])
        if reason is None:
            continue
        text = st.query_params[key]
        try:
            del st.query_params[key]
        except StreamlitAPIException:
            # The box was drawn before, and so has a value.
            continue
        messages.append(_ignored(key, [text], reason))
    if messages:
        st.session_state[_MESSAGES] = messages
    return bool(messages)


def _unusable(key: str, text: str) -> str | None:
    if key == COMPARISON:
        return None
    if not text.strip():
        may_be_empty = key in _MAY_BE_EMPTY or key.startswith(("only_", "sweep_"))
        return None if may_be_empty else "it is empty"
    number = _number(text)
    if number is None:
        return None
    if not math.isfinite(number):
        return "it is not a finite number"
    return "the number is too large" if abs(number) > _LARGEST else None


def _is_taken(key: str, texts: list[str]) -> bool:
    """Whether the box of a parameter has the link's value; true for parameters without a box."""
    if key == COMPARISON or key in _TITLED or key not in st.session_state:
        return True
    value = st.session_state[key]
    if isinstance(value, list):
        return len(value) == len([text for text in texts if text])
    # Number boxes replace an invalid value in the address by their own; other boxes remove it.
    # The address gives some choices by title.
    number = _number(text := texts[-1])
    if isinstance(value, int | float) and not isinstance(value, bool) and number is not None:
        return math.isclose(number, value)
    return str(value).casefold() == text.strip().casefold() or key in st.query_params


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _ignored(key: str, texts: list[str], reason: str = "its box does not accept it") -> str:
    values = ", ".join(quoted(text) for text in texts[:2])
    return plain(f"The link's {quoted(key)[1:-1]}={values} is ignored ({reason}).")
