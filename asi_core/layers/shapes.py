"""Reading the shapes of trained layers off a forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from asi_core.layers.compressed import has_batch
from asi_core.layers.conv import conv_geometry, padded_input
from asi_core.records import Geometry, LayerShape, LinearGeometry


@contextmanager
def observed_shapes(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, LayerShape]]:
    """While open, every forward pass of `model` records the shapes of the layers `names`."""
    shapes: dict[str, LayerShape] = {}

    def hook_for(name: str) -> Any:
        def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            shapes[name] = layer_shape(name, layer, inputs[0], output)

        return record

    handles = [model.get_submodule(n).register_forward_hook(hook_for(n)) for n in names]
    try:
        yield shapes
    finally:
        for handle in handles:
            handle.remove()


def layer_shape(name: str, layer: nn.Module, x: Tensor, output: Tensor) -> LayerShape:
    """The shape of one layer with input `x`; it has an input gradient where `x` needs one.

    The input is taken as the product meets it: padded where the layer pads otherwise than with
    zeros, and as a batch of one where it has no batch.
    """
    assert isinstance(layer, (nn.Conv2d, nn.Linear))
    batch = () if has_batch(x, layer_geometry(layer)) else (1,)
    return LayerShape(
        name=name,
        input_shape=tuple(met_input(layer, x.detach()).shape),
        output_shape=(*batch, *output.shape),
        weight_shape=tuple(layer.weight.shape),
        geometry=layer_geometry(layer),
        has_input_gradient=x.requires_grad,
    )


def met_input(layer: nn.Module, x: Tensor) -> Tensor:
    """`x` as the layer's product meets it, of the `input_shape` that `layer_shape` tells."""
    met = padded_input(layer, x) if isinstance(layer, nn.Conv2d) else x
    return met if has_batch(x, layer_geometry(layer)) else met[None]


def layer_geometry(layer: nn.Module) -> Geometry:
    """How a convolution or linear layer walks over its input."""
    return conv_geometry(layer) if isinstance(layer, nn.Conv2d) else LinearGeometry()
