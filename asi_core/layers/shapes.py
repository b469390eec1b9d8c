"""Recording the shapes of trained layers during a forward pass."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from asi_core.layers.compressed import has_batch
from asi_core.layers.conv import conv_geometry, padded_input
from asi_core.records import Geometry, LayerShape, LinearGeometry


@contextmanager
def observed_shapes(model: nn.Module, names: Sequence[str]) -> Iterator[ObservedShapes]:
    """Record the shapes of the layers `names` in every forward pass of `model`, while open."""
    observed = ObservedShapes()

    def recorder(name: str) -> Any:
        def record(layer: nn.Module, inputs: Any, named: Any, output: Tensor) -> None:
            observed.add(name, layer, input_of(inputs, named), output)

        return record

    handles = [
        model.get_submodule(n).register_forward_hook(recorder(n), with_kwargs=True) for n in names
    ]
    handles.append(model.register_forward_pre_hook(lambda *_: observed.clear()))
    try:
        yield observed
    finally:
        for handle in handles:
            handle.remove()


def input_of(inputs: tuple[Tensor, ...], named: Mapping[str, Tensor]) -> Tensor:
    """The input that a layer was called with, whether by position or by its name."""
    return inputs[0] if inputs else named["input"]


class ObservedShapes:
    """Shapes of layers in the latest forward pass, one per call."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the pass."""
        self._calls: dict[str, list[LayerShape]] = {}
        self._readers: dict[Any, str] = {}

    def add(self, name: str, layer: nn.Module, x: Tensor, output: Tensor) -> None:
        """Record a call of a layer with input `x`."""
        calls = self._calls.setdefault(name, [])
        identity, call = _identity(effective_input(layer, x)), f"{name}/{len(calls)}"
        reader = self._readers.setdefault(identity, call)
        calls.append(replace(layer_shape(name, layer, x, output), input_id=reader))

    def of(self, name: str) -> tuple[LayerShape, ...]:
        """The calls of a layer, in order; empty if it was not called."""
        return tuple(self._calls.get(name, ()))

    def all(self, names: Iterable[str]) -> list[LayerShape]:
        """The calls of several layers, grouped by layer."""
        return [shape for name in names for shape in self.of(name)]


def _identity(x: Tensor) -> Hashable:
    """A value that is equal for the same view of the same storage.

    It holds a weak reference, so that a new storage is not mistaken for one that was freed.
    """
    storage = StorageWeakRef(x.untyped_storage())
    return storage, x.storage_offset(), tuple(x.shape), x.stride()


def layer_shape(name: str, layer: nn.Module, x: Tensor, output: Tensor) -> LayerShape:
    """The shape of one layer with input `x`; it has an input gradient if `x` needs one.

    The input is taken as the product receives it: padded if the layer pads with anything but
    zeros, and as a batch of one if it has no batch mode.
    """
    assert isinstance(layer, (nn.Conv2d, nn.Linear))
    batch = () if has_batch(x, layer_geometry(layer)) else (1,)
    return LayerShape(
        name=name,
        input_shape=tuple(effective_input(layer, x.detach()).shape),
        output_shape=(*batch, *output.shape),
        weight_shape=tuple(layer.weight.shape),
        geometry=layer_geometry(layer),
        has_input_gradient=x.requires_grad,
        has_bias=layer.bias is not None,
    )


def effective_input(layer: nn.Module, x: Tensor) -> Tensor:
    """`x` as the layer's product receives it, of the `input_shape` that `layer_shape` returns."""
    padded = padded_input(layer, x) if isinstance(layer, nn.Conv2d) else x
    return padded if has_batch(x, layer_geometry(layer)) else padded[None]


def layer_geometry(layer: nn.Module) -> Geometry:
    """The geometry of a convolution or linear layer."""
    return conv_geometry(layer) if isinstance(layer, nn.Conv2d) else LinearGeometry()
