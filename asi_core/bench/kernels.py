"""Compressing one layer's input, and its weight gradient, in all ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from asi_core.bench.tails import NHWC, WAYS, Case, Tail
from asi_core.bench.timing import Timing, alternating
from asi_core.methods import ASI, HOSVD, USUAL_RANKS, Vanilla
from asi_core.methods.base import Method, WarmStart
from asi_core.records import LayerShape

_COMPRESSIONS: Mapping[str, Method] = {
    "asi": ASI(ranks=USUAL_RANKS, update="every_step"),
    "asi_refreshed": ASI(ranks=USUAL_RANKS, refresh_every=4),
    "asi_not_sequential": ASI(ranks=USUAL_RANKS, sequential=False),
    "hosvd_gram": HOSVD(ranks=USUAL_RANKS),
    "hosvd_svd": HOSVD(ranks=USUAL_RANKS, solver="svd"),
}


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """Seconds for one layer.

    Attributes:
        compress: seconds by method.
        weight_gradient: seconds from the whole input, and from ASI's form of it.
    """

    model: str
    shape: LayerShape
    compress: Mapping[str, Timing]
    weight_gradient: Mapping[str, Timing]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "model": self.model,
            "layer": self.shape.name,
            "input_shape": list(self.shape.input_shape),
            "weight_shape": list(self.shape.weight_shape),
            "groups": self.shape.geometry.groups,
            "compress_seconds": {n: t.as_dict() for n, t in self.compress.items()},
            "weight_gradient_seconds": {n: t.as_dict() for n, t in self.weight_gradient.items()},
        }


def run(chosen: Sequence[Case], seconds: float, device: torch.device) -> Iterator[LayerTimes]:
    """Time the trained layers of the cases; of equal ones only the first."""
    seen = set()
    for case in chosen:
        tail = Tail(case, WAYS["vanilla_nhwc"], device)
        inputs = tail.layer_inputs()
        for shape in tail.shapes:
            key = (shape.input_shape, shape.weight_shape, shape.geometry)
            if key not in seen:
                seen.add(key)
                yield _layer_times(case.model, shape, inputs[shape.name], seconds)


def _layer_times(model: str, shape: LayerShape, x: Tensor, seconds: float) -> LayerTimes:
    compressions = {name: _compression(m, shape, x) for name, m in _COMPRESSIONS.items()}
    gradients = {
        "vanilla": _weight_gradient(Vanilla(), shape, x),
        "asi": _weight_gradient(_COMPRESSIONS["asi"], shape, x),
    }
    return LayerTimes(
        model,
        shape,
        alternating(compressions, seconds, x.device),
        alternating(gradients, seconds / 5, x.device),
    )


def _compression(method: Method, shape: LayerShape, x: Tensor) -> Callable[[], object]:
    memory = WarmStart()
    return lambda: method.compress(x, shape.output_shape, shape.geometry, memory)


def _weight_gradient(method: Method, shape: LayerShape, x: Tensor) -> Callable[[], object]:
    saved = method.compress(x, shape.output_shape, shape.geometry, WarmStart())
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(shape.output_shape, generator=generator).to(x.device)
    grad_output = drawn.contiguous(memory_format=NHWC)
    return lambda: method.weight_gradient(saved, grad_output, shape.weight_shape, shape.geometry)
