"""Layers whose forward pass is their own: the product that they call is compressed, not the layer.

timm's convolutions standardise their weight, or pad their input as TensorFlow does, and then call
`F.conv2d`. What they do around that call stays theirs, gradients of it included: within the layer's
forward pass the call is answered by a compressed product with the arguments that it has.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from asi_core.errors import Unsupported
from asi_core.layers.compressed import CompressedLayer, compressed_product, outside_of_graph
from asi_core.layers.conv import CompressedConv2d, conv_geometry
from asi_core.layers.differentiating import refuse_transforms
from asi_core.layers.linear import CompressedLinear
from asi_core.methods.base import Method, Saved
from asi_core.records import ConvGeometry, Geometry, LinearGeometry

_PRODUCTS = (torch.conv2d, F.linear)


class OwnForward(CompressedLayer):
    """Mixin for a type of layer with a forward pass of its own, which must call one product."""

    @classmethod
    def from_plain(cls, plain: nn.Module, method: Method, seed: int) -> Self:
        if cls is OwnForward:
            return cast(Self, _compressed_type(type(plain)).from_plain(plain, method, seed))
        return super().from_plain(plain, method, seed)

    @property
    def geometry(self) -> Geometry:
        """As its attributes have it; a call within its forward pass may have another."""
        return conv_geometry(self) if isinstance(self, nn.Conv2d) else LinearGeometry()

    def forward(self, *inputs: Any, **named: Any) -> Any:
        own = self.plain.forward
        if not torch.is_grad_enabled():
            self.memory.initialised = False
            return own(self, *inputs, **named)
        if torch.compiler.is_compiling():
            return outside_of_graph(self._trained, inputs, named)
        return self._trained(inputs, named)

    def _trained(self, inputs: Any, named: Any) -> Any:
        refuse_transforms(self)
        with _Products(self):
            return self.plain.forward(self, *inputs, **named)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The type is made while the program runs, so it is found by the plain one.
        return _rebuilt, (self.plain, self.__dict__)


class _Products(TorchFunctionMode):
    """Within a layer's forward pass: answers the one product that it calls."""

    def __init__(self, layer: OwnForward) -> None:
        super().__init__()
        self._layer, self._calls = layer, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func not in _PRODUCTS:
            return func(*args, **(kwargs or {}))
        self._calls += 1
        layer = self._layer
        if self._calls > 1:
            raise Unsupported(
                f"a {layer.plain.__name__} calls more than one product in its forward pass, and "
                "only one could be compressed: name the layer in exclude."
            )
        conv = func is torch.conv2d
        bound = _of_conv(*args, **(kwargs or {})) if conv else _of_linear(*args, **(kwargs or {}))
        x, weight, bias, geometry = bound
        if not (weight.requires_grad or x.requires_grad) or x.numel() == 0:
            return func(*args, **(kwargs or {}))
        if weight.requires_grad:
            layer.was_called = True
        output = compressed_product(_Call(layer, geometry), x, weight, bias)
        if layer.watcher is not None and weight.requires_grad:
            layer.watcher(output, None)
        return output


class _Call:
    """One call of a product, as a layer of its geometry.

    What else the layer's forward pass reads is not known, so nothing is overwritten.
    """

    overwrites_input = overwrites_gradient = False
    watcher = None

    def __init__(self, layer: OwnForward, geometry: Geometry) -> None:
        self.layer, self.geometry, self.method = layer, geometry, layer.method
        conv = isinstance(geometry, ConvGeometry)
        self.product = CompressedConv2d.product if conv else CompressedLinear.product

    def padded(self, x: Tensor) -> Tensor:
        return x

    def padded_backward(self, gradient: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        return gradient

    def compress(self, x: Tensor, output_shape: tuple[int, ...]) -> Saved:
        layer = self.layer
        saved = self.method.compress(x, output_shape, self.geometry, layer.memory_of_step())
        layer.ranks = self.method.ranks_of(saved)
        return saved


def _of_conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, Tensor, Tensor | None, Geometry]:
    walk = (_hashable(value) for value in (stride, padding, dilation))
    return input, weight, bias, _geometry(tuple(weight.shape[2:]), *walk, groups)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, (int, str)) else tuple(value)


@lru_cache(maxsize=512)
def _geometry(
    kernel: tuple[int, int], stride: Any, padding: Any, dilation: Any, groups: int
) -> ConvGeometry:
    # A module that is only asked where its kernel goes.
    with torch.device("meta"):
        asked = nn.Conv2d(groups, groups, kernel, stride, padding, dilation, groups)
    return conv_geometry(asked)


def _of_linear(
    input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None, Geometry]:
    return input, weight, bias, LinearGeometry()


_TYPES: dict[type[nn.Module], type[OwnForward]] = {}


def _compressed_type(plain: type[nn.Module]) -> type[OwnForward]:
    if plain not in _TYPES:
        _TYPES[plain] = type(f"Compressed{plain.__name__}", (OwnForward, plain), {})
    return _TYPES[plain]


def _rebuilt(plain: type[nn.Module], state: dict[str, Any]) -> OwnForward:
    kind = _compressed_type(plain)
    layer = kind.__new__(kind)
    layer.__dict__ = state
    return layer
