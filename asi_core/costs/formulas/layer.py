"""All numbers of one layer under one method, as equations."""

from __future__ import annotations

from asi_core.costs.formulas import dense, gradient_filter, tucker
from asi_core.costs.formulas.expression import Formula
from asi_core.costs.formulas.symbols import Letters, letters, plus
from asi_core.errors import Unsupported
from asi_core.methods import (
    ASI,
    HOSVD,
    Checkpointing,
    EightBit,
    GradientFilter,
    Method,
    Vanilla,
)
from asi_core.records import ELEMENT_BYTES, Convention, LayerShape, Ranks

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
    in `Macs`. Their values are those of `method.saved_bytes` and `method.macs`.

    Args:
        ranks: in force; None for a method without ranks.
        kept_by: another layer that keeps the same input, which `exact` then does not count here.

    Raises:
        Unsupported: if no equations are written for the method.
    """
    names = letters(shape, ranks)
    in_bytes, parts = _expressions(method, names, shape, ranks, convention)
    values = names.values
    if isinstance(method, GradientFilter):
        values = {**values, "R": method.patch}
    formulas = {
        name: Formula(QUANTITIES[name], expression, values) for name, expression in parts.items()
    }
    return {
        "kept": Formula(KEPT, "0" if kept_by and convention == "exact" else in_bytes, values),
        **formulas,
    }


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
            return _in_bytes(dense.kept(names)), plain
        case Checkpointing():
            kept = _in_bytes(dense.kept(names)) if shape.opens_block else "0"
            return kept, plain | {"overhead": plain["forward"]}
        case EightBit():
            channels = names.sizes[shape.channel_mode]
            kept = f"{dense.kept(names)} + {2 * ELEMENT_BYTES}*{channels}"
            return kept, plain | {"overhead": f"2*{dense.kept(names)}"}
        case GradientFilter(patch=patch):
            own = {
                "overhead": gradient_filter.overhead(names, convention),
                "input_gradient": gradient_filter.input_gradient(names, shape, convention, patch),
                "weight_gradient": gradient_filter.weight_gradient(names, shape, convention),
            }
            return _in_bytes(gradient_filter.kept(convention)), plain | own
        case ASI() | HOSVD():
            assert ranks is not None
            own = {
                "overhead": _tucker_overhead(method, names, shape, ranks, convention),
                "weight_gradient": tucker.weight_gradient(names, shape, ranks, convention),
            }
            return _tucker_bytes(method, names, shape, ranks, convention), plain | own
    raise Unsupported(f"no equations are written for {method.label}.")


def _in_bytes(numbers: str, each: int = ELEMENT_BYTES) -> str:
    return f"{each}*({numbers})" if "+" in numbers else f"{each}*{numbers}"


def _tucker_bytes(
    method: ASI | HOSVD, names: Letters, shape: LayerShape, ranks: Ranks, convention: Convention
) -> str:
    bits = method.bits if isinstance(method, ASI) else 32
    core, factors = tucker.kept(names, shape, ranks, convention)
    both = f"{core} + {factors}" if factors else core
    if bits == 8:
        steps = tucker.steps(names, shape, ranks)
        return both if convention == "paper" else f"{both} + {_in_bytes(steps)}"
    if bits == 32 or not factors:
        return _in_bytes(both)
    return f"{_in_bytes(core)} + {_in_bytes(factors, bits // 8)}"


def _tucker_overhead(
    method: ASI | HOSVD, names: Letters, shape: LayerShape, ranks: Ranks, convention: Convention
) -> str:
    if isinstance(method, HOSVD):
        return tucker.hosvd_overhead(
            names,
            shape,
            ranks,
            convention,
            solver=method.solver,
            are_given=method.ranks is not None,
        )
    iterated = tucker.asi_overhead(
        names,
        shape,
        ranks,
        convention,
        sequential=method.sequential,
        refresh_every=method.refresh_every,
    )
    if method.bits != 8 or convention == "paper":
        return iterated
    return plus([iterated, tucker.rounding_overhead(names, shape, ranks)])
