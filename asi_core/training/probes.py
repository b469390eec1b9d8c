"""A look at the inputs of the trained layers: their spectra, and what the method keeps of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from asi_core import linalg
from asi_core.layers.compressed import CompressedLayer
from asi_core.training.events import LayerProbe

_DIGITS = 6


@torch.no_grad()
def probe_layers(
    tail: nn.Module, names: Sequence[str], values: tuple[Tensor, ...]
) -> tuple[LayerProbe, ...]:
    """Probe the layers `names` of `tail` on one batch of crossing values, without a gradient."""
    inputs: dict[str, Tensor] = {}

    def hook_for(name: str) -> Any:
        def record(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            inputs[name] = arguments[0]

        return record

    handles = [tail.get_submodule(n).register_forward_pre_hook(hook_for(n)) for n in names]
    try:
        tail(*values)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(_probe(name, tail.get_submodule(name), inputs[name]) for name in names)


def _probe(name: str, layer: nn.Module, x: Tensor) -> LayerProbe:
    spectra = tuple(
        _rounded(linalg.spectra.singular_values(x, mode).tolist()) for mode in range(x.dim())
    )
    ranks = energy = None
    if isinstance(layer, CompressedLayer):
        ranks = layer.ranks
        factors = layer.method.factors(x, layer.memory)
        if factors is not None:
            energy = linalg.spectra.captured_energy(x, factors)
    return LayerProbe(
        name=name,
        shape=tuple(x.shape),
        ranks=ranks,
        singular_values=spectra,
        captured_energy=energy,
    )


def _rounded(values: list[float]) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
