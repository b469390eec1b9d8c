"""Tracing models with compressed or lean layers: each becomes one node of the graph."""

from __future__ import annotations

from torch import fx, nn

from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.lean.layer import LeanLayer
from asi_core.layers.lean.registry import LEAN


class LayerTracer(fx.Tracer):
    """Treats PyTorch's and this package's layers as leaves."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        own = isinstance(m, (CompressedLayer, LeanLayer, *LEAN))
        return own or super().is_leaf_module(m, module_qualified_name)
