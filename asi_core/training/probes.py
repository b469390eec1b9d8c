"""Probing a training step: spectra of the trained layers' inputs, and the method's
approximation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from asi_core import linalg
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.shapes import layer_geometry
from asi_core.layers.watching import Watched
from asi_core.training.events import LayerProbe
from asi_core.training.slices import input_pictures

if TYPE_CHECKING:
    from asi_core.linalg.spectra import Decomposition

_DIGITS = 6


@torch.no_grad()
def probe_layers(model: nn.Module, notes: Mapping[str, Watched]) -> tuple[LayerProbe, ...]:
    """Probe the layers of `model` that were watched, after the step."""
    return tuple(_probe(name, model.get_submodule(name), note) for name, note in notes.items())


def _probe(name: str, layer: nn.Module, note: Watched) -> LayerProbe:
    assert note.x is not None, f"layer {name} was not called"
    x = note.x
    modes = [linalg.spectra.decompose(x, mode) for mode in range(x.dim())]
    factors: Sequence[Tensor | None] | None = None
    made: dict[str, Any] = {}
    if isinstance(layer, CompressedLayer) and layer.method.replaces_layers:
        factors = layer.method.factors(x, layer.memory)
        made = _made_of_it(layer, note, modes, factors)
    channel_mode = layer_geometry(layer).channel_mode(x.dim())
    return LayerProbe(
        name=name,
        shape=tuple(x.shape),
        singular_values=tuple(_rounded(mode.values.tolist()) for mode in modes),
        pictures=input_pictures(x, channel_mode, factors),
        **made,
    )


def _made_of_it(
    layer: CompressedLayer,
    note: Watched,
    modes: Sequence[Decomposition],
    factors: Sequence[Tensor | None] | None,
) -> dict[str, Any]:
    """What the layer's method kept of its input, and the quality of the resulting gradient."""
    x, ranks = note.x, layer.ranks
    assert x is not None
    made: dict[str, Any] = {"ranks": ranks, "gradient_cosine": _gradient_cosine(layer, note)}
    if factors is None or ranks is None:
        return made
    made["captured_energy"] = energy = linalg.spectra.captured_energy(x, factors)
    if not layer.memory.factors:
        return {**made, "best_energy": energy}
    best = [
        mode.leading(rank) if rank < size else None
        for mode, rank, size in zip(modes, ranks, x.shape, strict=True)
    ]
    made["best_energy"] = linalg.spectra.captured_energy(x, best)
    # From what this step started with to what the next one starts with, used late or not.
    memory = replace(layer.memory, used={})
    later = layer.method.factors(x, memory)
    earlier = layer.method.factors(x, replace(memory, factors=note.earlier_factors))
    assert earlier is not None, "a method with factors had them at the start of the step"
    assert later is not None
    made["drift_degrees"] = tuple(map(_largest_angle, earlier, later))
    return made


def _gradient_cosine(layer: CompressedLayer, note: Watched) -> float | None:
    """Cosine between the weight gradient in use and the exact one for the same output gradient."""
    found = note.weight_gradient
    if found is None or note.grad_output is None:
        return None
    assert note.x is not None
    exact = linalg.gradients.weight_gradient(
        note.x, note.grad_output, tuple(found.shape), layer_geometry(layer)
    )
    # In float64, which not every device supports: the matrices are small.
    a, b = found.cpu().double(), exact.cpu().double()
    scale = float(a.norm() * b.norm())
    return float((a * b).sum()) / scale if scale > 0 else None


def _largest_angle(before: Tensor | None, after: Tensor | None) -> float | None:
    """Largest principal angle, in degrees, between the subspaces of two steps."""
    if before is None or after is None or before.shape != after.shape:
        return None
    return max(linalg.spectra.principal_angles(before, after))


def _rounded(values: list[float]) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
