"""The controls of a lesson: free, or fixed by a lecturer's link.

Their values are in the address, so that a link reproduces the view. In a lecturer's link, the
controls that it names are fixed. The class may change the others, which are then not written into
the address, where they would become fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import streamlit as st

from asi_core.errors import InvalidInput
from dashboard.learn.address import Value, fixed_value, parsed
from dashboard.links import quoted

RANKS, USUAL_RANK = (1, 2, 4, 8, 16, 32, 64), 8


class Controls:
    """Draws controls and keeps their values; `fixes_named` for a lecturer's link."""

    def __init__(self, *, fixes_named: bool) -> None:
        # As text for links, in the order drawn.
        self.values: dict[str, str] = {}
        self._fixes_named = fixes_named

    def slider(
        self,
        key: str,
        label: str,
        bounds: tuple[float, float],
        *,
        step: float = 1,
        start: float,
        hint: str,
    ) -> float:
        """A number within `bounds`; a whole number if the step is one."""
        low, high = bounds

        def parse(text: str) -> float:
            return number(key, text, low, high, whole=isinstance(step, int))

        def draw(mark: str, **how: Any) -> float:
            return float(st.slider(label + mark, low, high, step=step, help=hint, **how))

        return self._drawn(key, parse, start, draw, lambda value: f"{value:.6g}")

    def scale(
        self, key: str, label: str, options: Sequence[Value], *, start: Value, hint: str
    ) -> Value:
        """One of several ordered values."""

        def draw(mark: str, **how: Any) -> Value:
            chosen: Value = st.select_slider(label + mark, options, help=hint, **how)
            return chosen

        return self._drawn(key, one_of(key, options, str), start, draw, str)

    def rank(self) -> int:
        """The rank of every mode."""
        hint = "At most the size of the mode."
        return self.scale("rank", "Rank of every mode", RANKS, start=USUAL_RANK, hint=hint)

    def choice(
        self,
        key: str,
        label: str,
        options: Sequence[str],
        *,
        start: str,
        hint: str,
        title: Callable[[str], str] = str,
        resets: Sequence[str] = (),
    ) -> str:
        """One of several names, displayed by their titles. When it changes, the controls in
        `resets` return to their defaults."""

        def draw(mark: str, **how: Any) -> str:
            return str(st.selectbox(label + mark, options, format_func=title, help=hint, **how))

        return self._drawn(key, one_of(key, options, title), start, draw, str, resets)

    def _named(self, key: str, parse: Callable[[str], Value]) -> Value | None:
        """A control's value in the address.

        A lecturer's link gives it under its plain key. Other links use a prefix; there the plain
        key belongs to the setup, whose value is used if the lesson allows it, or to a link of an
        earlier version.
        """
        unprefixed = st.query_params.get(key)
        if self._fixes_named:
            return parsed(unprefixed, parse)
        own = st.query_params.get(_own(key))
        if own is not None or key not in st.session_state:
            return parsed(unprefixed if own is None else own, parse)
        with suppress(InvalidInput):
            return None if unprefixed is None else parse(unprefixed)
        return None

    def _drawn(
        self,
        key: str,
        parse: Callable[[str], Value],
        start: Value,
        draw: Callable[..., Value],
        written: Callable[[Value], str],
        resets: Sequence[str] = (),
    ) -> Value:
        named = self._named(key, parse)
        widget = f"learn-{key}"
        is_fixed = self._fixes_named and named is not None
        if named is not None or not self._fixes_named:
            st.session_state[widget] = start if named is None else named
        else:
            _keep_if_allowed(widget, parse, written, start)

        def remember() -> None:
            if not self._fixes_named:
                st.query_params[_own(key)] = written(st.session_state[widget])
                for other in resets:
                    _forget(other)

        mark = " (fixed)" if is_fixed else ""
        value = draw(mark, key=widget, disabled=is_fixed, on_change=remember)
        self.values[key] = written(value)
        return value


def fixed(key: str, parse: Callable[[str], Value], start: Value) -> Value:
    """The value at which a lecturer's link fixes a control; `start` in other links, and for an
    invalid value, which the control reports."""
    text = fixed_value(key)
    with suppress(InvalidInput):
        return start if text is None else parse(text)
    return start


def _forget(key: str) -> None:
    """Remove a control from the address, except for a parameter of the setup."""
    st.query_params.pop(_own(key), None)
    if key not in st.session_state:
        st.query_params.pop(key, None)


def _own(key: str) -> str:
    """A control's key in the address, distinct from the keys of the setup."""
    return f"lesson-{key}"


def _keep_if_allowed(
    widget: str, parse: Callable[[str], Value], written: Callable[[Value], str], start: Value
) -> None:
    """Keep a control's value unless another control has made it invalid."""
    try:
        st.session_state[widget] = parse(written(st.session_state[widget]))
    except (KeyError, InvalidInput):
        st.session_state[widget] = start


def number(key: str, text: str, low: float, high: float, *, whole: bool) -> float:
    """A parameter of the address as a number; raises InvalidInput unless it is within bounds."""
    try:
        value: float = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise InvalidInput(
            f"{key} must be {kind} from {low:g} to {high:g}", quoted(text), "set it below"
        )
    return value


def one_of(
    key: str, options: Sequence[Value], title: Callable[[Value], str]
) -> Callable[[str], Value]:
    """A function from a parameter of the address to an option, given as it is or by its title; it
    raises InvalidInput for any other text."""

    def parse(text: str) -> Value:
        for option in options:
            if text in (str(option), title(option)):
                return option
        known = ", ".join(map(str, options))
        raise InvalidInput(f"{key} must be one of {known}", quoted(text), "choose below")

    return parse
