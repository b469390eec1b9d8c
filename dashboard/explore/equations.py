"""The formulas of a layer's numbers, as equations with the current values."""

from __future__ import annotations

import re
from collections.abc import Sequence

import streamlit as st

from asi_core.costs.accounting import LayerCost
from asi_core.costs.formulas import Formula, layer_formulas
from asi_core.costs.formulas.symbols import symbols_explained
from asi_core.errors import NoClosedForm
from asi_core.methods import ASI, Method
from asi_core.units import format_bytes, format_count
from dashboard.explore.compared import MethodCost, measurable, present
from dashboard.explore.settings import ExploreSettings
from dashboard.frame import URL, drawer

_LINE = 46
_NOTES = {
    "input_gradient": "not needed: no layer before this one is trained",
    "overhead": "none: nothing is compressed",
    "kept": "nothing",
}


def formula_drawer(settings: ExploreSettings, costs: Sequence[MethodCost]) -> None:
    """An expander with a layer and a method to choose; nothing is computed while it is closed."""
    with drawer("Formulas with these values", icon=":material/function:", key="formulas") as panel:
        if panel.open:
            _equations(settings, costs)


def _equations(settings: ExploreSettings, costs: Sequence[MethodCost]) -> None:
    shown = {method.label: (method, cost) for method, cost in present(costs)}
    left, right = st.columns([1, 2])
    label = left.selectbox(
        "Method",
        list(shown),
        index=list(shown).index(ASI.label) if ASI.label in shown else 0,
        key="formula_method",
        help="The method whose equations are shown.",
        **URL,
    )
    method, cost = shown[label]
    names = [f"{n} · {layer.shape.name}" for n, layer in enumerate(cost.layers, start=1)]
    name = right.selectbox(
        "Layer", names, key="formula_layer", help="Numbered as in the figures.", **URL
    )
    layer = cost.layers[names.index(name)]
    formulas = layer_formulas(
        method, layer.shape, layer.ranks, settings.convention, kept_by=layer.kept_by
    )
    st.caption(f"{method.settings_label}. {symbols_explained(layer.shape)}")
    for other in measurable(costs):
        st.caption(str(NoClosedForm(other.label)))
    for part, formula in formulas.items():
        st.markdown(f"**{formula.quantity}**")
        value = formula.value
        if formula.expression == "0":
            st.markdown(f"0 ({_zero_note(part, method, layer, settings)})")
        else:
            st.latex(equation(formula))
            st.caption(format_bytes(value) if part == "kept" else format_count(value, "MACs"))


def equation(formula: Formula) -> str:
    """LaTeX: symbols, then numbers, then the result, in lines that fit a page."""
    lines = [*_wrapped(formula.symbols()), *_wrapped(formula.numbers())]
    result = f"{formula.value:,}".replace(",", r"\,")
    body = r" \\ ".join([*lines, rf"&= \mathbf{{{result}}}"])
    return rf"\begin{{aligned}} {body} \end{{aligned}}"


def _wrapped(terms: Sequence[str]) -> list[str]:
    """As many terms per line as fit; the first line has the equals sign."""
    lines, current = [], ""
    for term in terms:
        if current and _width(current) + _width(term) > _LINE:
            lines.append(current)
            current = ""
        current = f"{current} {term}".strip()
    lines.append(current)
    return [f"&= {lines[0]}", *(rf"&\quad {line}" for line in lines[1:])]


def _width(latex: str) -> int:
    """About how many characters are visible."""
    return len(re.sub(r"\\(mathrm|left|right|cdot|frac|,)|[{}_^ ]", "", latex))


def _zero_note(part: str, method: Method, layer: LayerCost, settings: ExploreSettings) -> str:
    if part == "input_gradient" and settings.convention == "paper":
        return "left out by the paper's convention"
    if part == "kept" and layer.kept_by is not None:
        return f"this layer reads the same tensor as {layer.kept_by}, which counts it"
    if part == "kept" and method.repeats_blocks:
        return "nothing: only the input of its block is kept, and the block is computed again"
    return _NOTES.get(part, "none")
