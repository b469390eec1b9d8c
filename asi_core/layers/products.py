"""Products of layers that compute more than one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from asi_core.methods import Vanilla
from asi_core.methods.base import Method, Saved
from asi_core.records import Geometry

_WHOLE = Vanilla()


def _kept_whole(x: Tensor, output_shape: tuple[int, ...]) -> Saved:
    return (x,)


def _itself(x: Tensor) -> Tensor:
    return x


def _gradient_itself(gradient: Tensor, input_shape: tuple[int, ...]) -> Tensor:
    return gradient


@dataclass(frozen=True)
class Product:
    """One of several products of a layer, as `compressed_product` takes it.

    Others may read the same input or the same gradient, so neither is overwritten.

    Attributes:
        product: as the layer's own.
        method, compress: what is kept of the input while the product's weight is trained: by
            default all of it.
        padded, padded_backward: as the layer's own; by default nothing is padded.
    """

    product: Callable[[Tensor, Tensor, Tensor | None, Geometry], Tensor]
    geometry: Geometry
    method: Method = _WHOLE
    compress: Callable[[Tensor, tuple[int, ...]], Saved] = _kept_whole
    padded: Callable[[Tensor], Tensor] = _itself
    padded_backward: Callable[[Tensor, tuple[int, ...]], Tensor] = _gradient_itself
    overwrites_input: ClassVar[bool] = False
    overwrites_gradient: ClassVar[bool] = False
    watcher: ClassVar[None] = None
