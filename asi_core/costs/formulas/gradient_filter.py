"""Equations of gradient filtering; see `methods.gradient_filter`."""

from __future__ import annotations

from asi_core.costs.formulas import dense
from asi_core.costs.formulas.symbols import Letters, times
from asi_core.records import Convention, ConvGeometry, LayerShape

_PATCHES = "ceil(H_out/R)*ceil(W_out/R)"


def kept(convention: Convention) -> str:
    """Sums of the input over windows, one a patch of the output."""
    if convention == "exact":
        return f"B*C*{_PATCHES}"
    return times("B", "C", *map(_paper_windows, ("H", "W")))


def overhead(names: Letters, convention: Convention) -> str:
    """Summing the input over windows and the output gradient over patches."""
    if convention == "paper":
        return "H*W*(R**2 - 1)*C*B//R**2"
    return f"{times(*names.sizes)} + {times(*names.outputs)}"


def weight_gradient(names: Letters, shape: LayerShape, convention: Convention) -> str:
    """A product on patches."""
    if convention == "exact":
        return f"B*C_out*C_g*{_PATCHES}"
    kernel = times(*names.kernel)
    forward = dense.forward(names, shape, "paper")
    return f"2*B*C_out*H_out*W_out//R**2 + C*C_out*({kernel} - 1) + {forward}"


def input_gradient(names: Letters, shape: LayerShape, convention: Convention, patch: int) -> str:
    """A product on patches with the kernel's sums; with its taps where they lie far apart."""
    if convention == "paper" or not shape.has_input_gradient:
        return "0"
    assert isinstance(shape.geometry, ConvGeometry)
    product, kernel = f"B*C_out*C_g*{_PATCHES}", times(*names.kernel)
    if min(shape.geometry.dilation) >= max(patch, 2):
        return f"{product}*{kernel}"
    return f"{product} + C_out*C_g*{kernel}"


def _paper_windows(side: str) -> str:
    window = f"R*s_{side}"
    margin = f"ceil((ceil({side}_out/R)*{window} - {side})/2)"
    return f"(floor(({side} + 2*{margin} - {window})/({window})) + 1)"
