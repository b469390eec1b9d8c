"""The formula drawer: every number of a layer as an equation with the live values in it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import streamlit as st

from asi_core.costs.accounting import LayerCost
from asi_core.costs.formulas import Formula, layer_formulas
from asi_core.costs.formulas.symbols import symbols_explained
from asi_core.errors import NoClosedForm
from asi_core.methods import ASI, Method
from asi_core.records import LayerShape
from asi_core.units import format_bytes, format_count
from dashboard.explore.compared import MethodCost, measurable, present
from dashboard.explore.settings import ExploreSettings
from dashboard.frame import URL

_LINE = 46
_NOTES = {
    "input_gradient": "not needed: nothing before this layer is trained",
    "overhead": "none: nothing is compressed",
    "kept": "nothing of its own",
}
_REPEATED = "nothing of its own: the input of its block is kept, and the rest computed again"


def formula_drawer(settings: ExploreSettings, costs: Sequence[MethodCost]) -> None:
    """An expander with a layer and a method to choose; nothing is computed while it is closed."""
    with st.expander(
        "Formulas with these numbers",
        icon=":material/function:",
        key="formulas",
        on_change="rerun",
        **URL,
    ) as drawer:
        if drawer.open:
            _equations(settings, costs)


def _equations(settings: ExploreSettings, costs: Sequence[MethodCost]) -> None:
    shown = {method.label: (method, cost) for method, cost in present(costs)}
    left, right = st.columns([1, 2])
    label = left.selectbox(
        "Method",
        list(shown),
        index=list(shown).index(ASI.label) if ASI.label in shown else 0,
        key="formula_method",
        help="Whose equations are written out.",
        **URL,
    )
    method, cost = shown[label]
    names = [f"{n} · {layer.shape.name}" for n, layer in enumerate(cost.layers, start=1)]
    name = right.selectbox(
        "Layer", names, key="formula_layer", help="Numbered as in the pictures.", **URL
    )
    layer = cost.layers[names.index(name)]
    formulas = layer_formulas(
        method, layer.shape, layer.ranks, settings.convention, kept_by=layer.kept_by
    )
    st.caption(_message(method, layer.shape))
    for other in measurable(costs):
        st.caption(str(NoClosedForm(other.label)))
    for part, formula in formulas.items():
        st.markdown(f"**{formula.quantity}**")
        if formula.expression == "0":
            reason = _zero_note(part, method, layer, settings)
            st.markdown(f"0 ({reason})")
        else:
            st.latex(equation(formula))
            st.caption(_rounded(part, formula))


def equation(formula: Formula) -> str:
    """LaTeX: symbols, then numbers, then the result, in lines that fit a page."""
    lines = [*_wrapped(formula.symbols()), *_wrapped(formula.numbers())]
    result = f"{formula.value:,}".replace(",", r"\,")
    body = r" \\ ".join([*lines, rf"&= \mathbf{{{result}}}"])
    return rf"\begin{{aligned}} {body} \end{{aligned}}"


def _wrapped(terms: Sequence[str]) -> list[str]:
    """As many terms a line as fit; the first line has the equals sign."""
    lines, current = [], ""
    for term in terms:
        if current and _width(current) + _width(term) > _LINE:
            lines.append(current)
            current = ""
        current = f"{current} {term}".strip()
    lines.append(current)
    return [f"&= {lines[0]}", *(rf"&\quad {line}" for line in lines[1:])]


def _width(latex: str) -> int:
    """About how many letters are seen."""
    return len(re.sub(r"\\(mathrm|left|right|cdot|frac|,)|[{}_^ ]", "", latex))


def _message(method: Method, shape: LayerShape) -> str:
    return f"{method.settings_label}. {symbols_explained(shape)}"


def _zero_note(part: str, method: Method, layer: LayerCost, settings: ExploreSettings) -> str:
    if part == "input_gradient" and settings.convention == "paper":
        return "left out by the paper's convention"
    if part == "kept" and layer.kept_by is not None:
        return f"it reads the same tensor as {layer.kept_by}, where it is counted"
    if part == "kept" and method.repeats_blocks:
        return _REPEATED
    return _NOTES.get(part, "none")


def _rounded(part: str, formula: Formula) -> str:
    if part == "kept":
        return format_bytes(formula.value)
    return format_count(formula.value, "MACs")
