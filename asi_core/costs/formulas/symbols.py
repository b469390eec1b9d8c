"""The letters of a layer: one for every size, and their values."""

from __future__ import annotations

from dataclasses import dataclass

from asi_core.records import ConvGeometry, LayerShape, Ranks

# By layer kind and number of modes: the letters of the input's sizes.
_CONV, _IMAGE_TOKENS, _TOKENS = ("B", "C", "H", "W"), ("B", "H", "W", "F"), ("B", "T", "F")


@dataclass(frozen=True, slots=True)
class Letters:
    """Names of a layer's sizes, mode by mode.

    Attributes:
        sizes: of the input; ranks are called `k_` and the same letter.
        outputs: of the output. A position of a linear layer's output is one of its input.
        kernel: of a convolution's kernel; empty for a linear layer.
        values: what every name stands for.
    """

    sizes: tuple[str, ...]
    outputs: tuple[str, ...]
    kernel: tuple[str, ...]
    values: dict[str, int]

    @property
    def ranks(self) -> tuple[str, ...]:
        return tuple(f"k_{size}" for size in self.sizes)


def letters(shape: LayerShape, ranks: Ranks | None) -> Letters:
    """The letters of a layer, with its ranks if it has any."""
    sizes = _sizes(shape)
    outputs: tuple[str, ...] = (*sizes[:-1], "F_out")
    kernel: tuple[str, ...] = ()
    geometry: dict[str, int] = {}
    if isinstance(shape.geometry, ConvGeometry):
        outputs, kernel = ("B", "C_out", "H_out", "W_out"), ("K_H", "K_W")
        stride_height, stride_width = shape.geometry.stride
        geometry = {"C_g": shape.weight_shape[1], "s_H": stride_height, "s_W": stride_width}
    values = {
        **dict(zip(sizes, shape.input_shape, strict=True)),
        **dict(zip(outputs, shape.output_shape, strict=True)),
        **dict(zip(kernel, shape.weight_shape[2:], strict=True)),
        **geometry,
        **{f"k_{size}": rank for size, rank in zip(sizes, ranks or (), strict=ranks is not None)},
    }
    return Letters(sizes, outputs, kernel, values)


def times(*parts: str) -> str:
    """The product; 1 of nothing."""
    return "*".join(parts) or "1"


def plus(terms: list[str]) -> str:
    """The sum; 0 of nothing."""
    return " + ".join(terms) or "0"


def _sizes(shape: LayerShape) -> tuple[str, ...]:
    if not shape.is_linear:
        return _CONV
    return _TOKENS if len(shape.input_shape) == len(_TOKENS) else _IMAGE_TOKENS
