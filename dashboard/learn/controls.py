"""The controls of a lesson: free, or fixed by a lecturer's link.

The address is what they say: a link with other values gives another view. In a lecturer's link a
control that the link names stays as it is, and the others are the class's own and leave no trace in
the address, for what is there would be fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import streamlit as st

from asi_core.errors import InvalidInput, one_sentence
from dashboard.links import quoted
from dashboard.plain import plain

Value = TypeVar("Value")


class Controls:
    """Draws controls and remembers what they are set to.

    Args:
        fixes_named: whether the page is a lecturer's link.

    Attributes:
        values: what each control is set to, as a link says it, in the order drawn.
    """

    def __init__(self, *, fixes_named: bool) -> None:
        self.values: dict[str, str] = {}
        self._fixes_named = fixes_named

    def slider(
        self,
        key: str,
        label: str,
        *,
        low: float,
        high: float,
        step: float,
        start: float,
        hint: str,
    ) -> float:
        """A number from `low` to `high`; a whole one if the step is."""

        def parse(text: str) -> float:
            return _number(key, text, low, high, whole=isinstance(step, int))

        def draw(mark: str, **how: Any) -> float:
            return float(st.slider(label + mark, low, high, step=step, help=hint, **how))

        return self._drawn(key, parse, start, draw, lambda value: f"{value:.6g}")

    def scale(
        self, key: str, label: str, options: Sequence[Value], *, start: Value, hint: str
    ) -> Value:
        """One of several values that have an order."""

        def draw(mark: str, **how: Any) -> Value:
            chosen: Value = st.select_slider(label + mark, options, help=hint, **how)
            return chosen

        return self._drawn(key, _one_of(key, options, str), start, draw, str)

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
        """One of several names.

        Args:
            title: what is shown instead of the name, which links use.
            resets: controls that start anew when this one changes.
        """

        def draw(mark: str, **how: Any) -> str:
            return str(st.selectbox(label + mark, options, format_func=title, help=hint, **how))

        return self._drawn(key, _one_of(key, options, title), start, draw, str, resets)

    def _named(self, key: str, parse: Callable[[str], Value]) -> Value | None:
        """What the address says of a control: a lecturer's link by its plain name.

        Elsewhere a plain name is the setup's, with which a lesson begins as far as it can; or of
        an earlier version's link.
        """
        plainly = st.query_params.get(key)
        if self._fixes_named:
            return _named_in_link(key, plainly, parse)
        own = st.query_params.get(_own(key))
        if own is not None or key not in st.session_state:
            return _named_in_link(key, plainly if own is None else own, parse)
        with suppress(InvalidInput):
            return None if plainly is None else parse(plainly)
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


def _forget(key: str) -> None:
    """Take what the address says of a control out of it; what is a setup's box stays."""
    st.query_params.pop(_own(key), None)
    if key not in st.session_state:
        st.query_params.pop(key, None)


def _own(key: str) -> str:
    """A control's name in the address, which has the setup's boxes beside it."""
    return f"lesson-{key}"


def _named_in_link(key: str, text: str | None, parse: Callable[[str], Value]) -> Value | None:
    """The link's value; None without one, and a sentence if it is not allowed."""
    if text is None:
        return None
    try:
        return parse(text)
    except InvalidInput as error:
        st.warning(f"In the link, {plain(one_sentence(error))}")
        return None


def _keep_if_allowed(
    widget: str, parse: Callable[[str], Value], written: Callable[[Value], str], start: Value
) -> None:
    """What the class has set, unless another control has made it impossible."""
    try:
        st.session_state[widget] = parse(written(st.session_state[widget]))
    except (KeyError, InvalidInput):
        st.session_state[widget] = start


def _number(key: str, text: str, low: float, high: float, *, whole: bool) -> float:
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


def _one_of(
    key: str, options: Sequence[Value], title: Callable[[Value], str]
) -> Callable[[str], Value]:
    def parse(text: str) -> Value:
        for option in options:
            if text in (str(option), title(option)):
                return option
        known = ", ".join(map(str, options))
        raise InvalidInput(f"{key} must be one of {known}", quoted(text), "choose below")

    return parse
