"""All numbers of one layer under one method, as equations."""

from __future__ import annotations

from asi_core.costs.formulas import dense, gradient_filter, tucker
from asi_core.costs.formulas.expression import Formula
from asi_core.costs.formulas.symbols import Letters, letters
from asi_core.errors import Unsupported
from asi_core.methods import ASI, HOSVD, GradientFilter, Method, Vanilla
from asi_core.records import ELEMENT_BYTES, Convention, LayerShape, Ranks

KEPT = "Kept for backward, bytes"
QUANTITIES = {
    "forward": "Forward, MACs",
    "overhead": "Overhead, MACs",
    "input_gradient": "Input gradient, MACs",
    "weight_gradient": "Weight gradient, MACs",
}


def layer_formulas(
    method: Method, shape: LayerShape, ranks: Ranks | None, convention: Convention
) -> dict[str, Formula]:
    """Equations of a layer: "kept" in bytes, and the parts of a step's multiplies by their names
    in `Macs`. Their values are those of `method.saved_bytes` and `method.macs`.

    Args:
        ranks: in force; None for a method without ranks.

    Raises:
        Unsupported: if no equations are written for the method.
    """
    names = letters(shape, ranks)
    kept, parts = _expressions(method, names, shape, ranks, convention)
    values = names.values
    if isinstance(method, GradientFilter):
        values = {**values, "R": method.patch}
    formulas = {
        name: Formula(QUANTITIES[name], expression, values) for name, expression in parts.items()
    }
    in_bytes = f"{ELEMENT_BYTES}*({kept})" if "+" in kept else f"{ELEMENT_BYTES}*{kept}"
    return {"kept": Formula(KEPT, in_bytes, values), **formulas}


def symbols_told(shape: LayerShape) -> str:
    """What the letters mean: Markdown with LaTeX between dollar signs."""
    ranks = "$k$ is the rank of the mode that its index names"
    if shape.is_linear:
        positions = "$T$ tokens" if len(shape.input_shape) == 3 else r"$H \times W$ positions"
        return (
            f"The layer reads a batch of $B$, {positions} and $F$ features, and writes "
            rf"$F_\mathrm{{out}}$ features; {ranks}."
        )
    return (
        r"The layer reads a batch of $B$ with $C$ channels of $H \times W$ and writes "
        r"$C_\mathrm{out}$ channels of $H_\mathrm{out} \times W_\mathrm{out}$, with a kernel of "
        r"$K_\mathrm{H} \times K_\mathrm{W}$ over $C_\mathrm{g}$ channels a group and strides "
        rf"$s_\mathrm{{H}}$ and $s_\mathrm{{W}}$; {ranks}, $R$ the side of a patch."
    )


def _expressions(
    method: Method,
    names: Letters,
    shape: LayerShape,
    ranks: Ranks | None,
    convention: Convention,
) -> tuple[str, dict[str, str]]:
    plain = {
        "forward": dense.forward(names, shape, convention),
        "overhead": "0",
        "input_gradient": dense.input_gradient(names, shape, convention),
        "weight_gradient": dense.weight_gradient(names, shape, convention),
    }
    match method:
        case Vanilla():
            return dense.kept(names), plain
        case GradientFilter(patch=patch):
            own = {
                "overhead": gradient_filter.overhead(names, convention),
                "input_gradient": gradient_filter.input_gradient(names, shape, convention, patch),
                "weight_gradient": gradient_filter.weight_gradient(names, shape, convention),
            }
            return gradient_filter.kept(convention), plain | own
        case ASI() | HOSVD():
            assert ranks is not None
            own = {
                "overhead": _tucker_overhead(method, names, shape, ranks, convention),
                "weight_gradient": tucker.weight_gradient(names, shape, ranks, convention),
            }
            return tucker.kept(names, shape, ranks, convention), plain | own
    raise Unsupported(f"no equations are written for {method.label}.")


def _tucker_overhead(
    method: ASI | HOSVD, names: Letters, shape: LayerShape, ranks: Ranks, convention: Convention
) -> str:
    if isinstance(method, HOSVD):
        return tucker.hosvd_overhead(names, shape, ranks, convention, solver=method.solver)
    return tucker.asi_overhead(
        names,
        shape,
        ranks,
        convention,
        sequential=method.sequential,
        refresh_every=method.refresh_every,
    )
