"""Equations of plain back-propagation; see `methods.costs.dense_step`."""

from __future__ import annotations

from asi_core.costs.formulas.symbols import Letters, times
from asi_core.records import Convention, LayerShape


def kept(names: Letters) -> str:
    """Numbers kept by vanilla: the whole input."""
    return times(*names.sizes)


def forward(names: Letters, shape: LayerShape, convention: Convention) -> str:
    """Multiply-accumulates of the forward product."""
    positions = [names.sizes[mode] for mode in shape.position_modes]
    return _product(names, shape, convention, positions)


def input_gradient(names: Letters, shape: LayerShape, convention: Convention) -> str:
    """As much as forward, where there is one; the paper leaves it out."""
    if convention == "paper" or not shape.has_input_gradient:
        return "0"
    return forward(names, shape, convention)


def weight_gradient(names: Letters, shape: LayerShape, convention: Convention) -> str:
    """Multiply-accumulates of the exact weight gradient."""
    positions = [names.outputs[mode] for mode in shape.position_modes]
    return _product(names, shape, convention, positions)


def _product(
    names: Letters, shape: LayerShape, convention: Convention, paper_positions: list[str]
) -> str:
    """`exact` counts output positions and groups; `paper` other positions and no groups."""
    mode = shape.channel_mode
    channels, outputs = names.sizes[mode], names.outputs[mode]
    if convention == "paper":
        return times("B", *paper_positions, channels, outputs, *names.kernel)
    positions = [names.outputs[mode] for mode in shape.position_modes]
    of_a_group = channels if shape.geometry.groups == 1 else "C_g"
    return times("B", *positions, of_a_group, outputs, *names.kernel)
