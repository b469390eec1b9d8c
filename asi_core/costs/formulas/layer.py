"""All counts of one layer under one method, as equations."""

from __future__ import annotations

import ast

from asi_core.costs.accounting import input_bytes
from asi_core.costs.formulas.expression import Formula
from asi_core.costs.formulas.symbols import lettered
from asi_core.counting import expression_of
from asi_core.methods import Method
from asi_core.records import Convention, LayerShape, Ranks

KEPT = "Kept for backward, bytes"
QUANTITIES = {
    "forward": "Forward, MACs",
    "overhead": "Overhead, MACs",
    "input_gradient": "Input gradient, MACs",
    "weight_gradient": "Weight gradient, MACs",
}


def layer_formulas(
    method: Method,
    shape: LayerShape,
    ranks: Ranks | None,
    convention: Convention,
    *,
    kept_by: str | None = None,
) -> dict[str, Formula]:
    """Equations of a layer: "kept" in bytes, and the parts of a step's multiplies by their names
    in `Macs`.

    The method's own counts are run with sizes that record what is computed from them, so that an
    equation always matches the count.

    Args:
        ranks: the ranks in use; None for a method without ranks.
        kept_by: another layer that keeps the same input, which `exact` then does not count here.

    Raises:
        NoClosedForm: if the method's costs are not known by formula.
    """
    read = lettered(method, shape, ranks)
    kept = read.method.saved_bytes(read.shape, read.ranks, convention)
    macs = read.method.macs(read.shape, read.ranks, convention)

    def formula(quantity: str, number: int) -> Formula:
        return Formula(quantity, ast.unparse(expression_of(number)), read.values)

    is_shared = kept_by is not None and convention == "exact"
    parts = {name: formula(quantity, getattr(macs, name)) for name, quantity in QUANTITIES.items()}
    if is_shared:
        # All of it in most methods, whose equation is then 0.
        others = kept - input_bytes(read.shape)
        kept = others if int(others) else 0
    return {"kept": formula(KEPT, kept), **parts}
