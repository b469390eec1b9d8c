"""All numbers behind the figures, as a table with a download."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import pandas as pd

from dashboard.explore.compared import MethodCost, present, reference
from dashboard.frame import drawer
from dashboard.tables import table


def numbers_table(costs: Sequence[MethodCost]) -> None:
    """An expander with the table; nothing is computed while it is closed."""
    with drawer("All numbers", icon=":material/table_rows:", key="numbers") as panel:
        if panel.open:
            table(
                number_rows(costs),
                key="explore-numbers",
                caption="By formula: bytes, and multiply-accumulates (MACs) of one step. Methods "
                "without a closed form have no rows.",
            )


def number_rows(costs: Sequence[MethodCost]) -> pd.DataFrame:
    """One row per layer and method, in forward order."""
    return pd.DataFrame(
        {
            "layer": layer.shape.name,
            "method": method.label,
            "input": "×".join(map(str, layer.shape.input_shape)),
            "output": "×".join(map(str, layer.shape.output_shape)),
            "ranks": "" if layer.ranks is None else "×".join(map(str, layer.ranks)),
            "kept_bytes": layer.activation_bytes,
            # NaN where vanilla keeps nothing: an earlier layer reads the same input.
            "times_vanilla": layer.activation_bytes / (plain.activation_bytes or nan),
            "forward_macs": layer.macs.forward,
            "overhead_macs": layer.macs.overhead,
            "input_gradient_macs": layer.macs.input_gradient,
            "weight_gradient_macs": layer.macs.weight_gradient,
        }
        for method, cost in present(costs)
        for layer, plain in zip(cost.layers, reference(costs).layers, strict=True)
    )
