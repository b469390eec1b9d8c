"""All numbers behind the pictures, as a table to take along."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboard.explore.compared import MethodCost, present, reference
from dashboard.frame import URL, table


def numbers_table(costs: Sequence[MethodCost]) -> None:
    """An expander with a row a layer and method; nothing is computed while it is closed."""
    with st.expander(
        "All numbers",
        icon=":material/table_rows:",
        key="numbers",
        on_change="rerun",
        **URL,
    ) as drawer:
        if drawer.open:
            table(
                number_rows(costs),
                key="explore-numbers",
                caption="By formula: bytes, and multiply-accumulates (MACs) of one step. Methods "
                "without closed form have no rows.",
            )


def number_rows(costs: Sequence[MethodCost]) -> pd.DataFrame:
    """One row a layer and method, in forward order."""
    return pd.DataFrame(
        {
            "layer": layer.shape.name,
            "method": method.label,
            "input": "×".join(map(str, layer.shape.input_shape)),
            "output": "×".join(map(str, layer.shape.output_shape)),
            "ranks": "" if layer.ranks is None else "×".join(map(str, layer.ranks)),
            "kept_bytes": layer.activation_bytes,
            "times_vanilla": _times(layer.activation_bytes, plain.activation_bytes),
            "forward_macs": layer.macs.forward,
            "overhead_macs": layer.macs.overhead,
            "input_gradient_macs": layer.macs.input_gradient,
            "weight_gradient_macs": layer.macs.weight_gradient,
        }
        for method, cost in present(costs)
        for layer, plain in zip(cost.layers, reference(costs).layers, strict=True)
    )


def _times(kept: int, vanilla: int) -> float | None:
    """None for a layer with which vanilla keeps nothing: an earlier one reads the same input."""
    return kept / vanilla if vanilla else None
