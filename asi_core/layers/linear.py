"""A linear layer that keeps what its method keeps, instead of its input."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from asi_core.layers.compressed import CompressedLayer
from asi_core.records import Geometry, LinearGeometry


class CompressedLinear(CompressedLayer, nn.Linear):
    """A `nn.Linear` on B x ... x F whose input is kept compressed from forward to backward."""

    plain = nn.Linear
    weight: nn.Parameter
    bias: nn.Parameter

    @property
    def geometry(self) -> LinearGeometry:
        return LinearGeometry()

    @staticmethod
    def product(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        return F.linear(x, weight, bias)
