"""The symbols of a layer: one letter for each size."""

from __future__ import annotations

from dataclasses import dataclass, replace

from asi_core.counting import TracedInt
from asi_core.methods import Method
from asi_core.records import ConvGeometry, LayerShape, Ranks

# By layer kind and number of modes: the letters for the input's sizes.
_CONV, _IMAGE_TOKENS, _TOKENS = ("B", "C", "H", "W"), ("B", "H", "W", "F"), ("B", "T", "F")


@dataclass(frozen=True, slots=True)
class Lettered:
    """The inputs of a closed form, with every size named by a letter.

    Attributes:
        values: the values of the letters.
    """

    method: Method
    shape: LayerShape
    ranks: Ranks | None
    values: dict[str, int]


def lettered(method: Method, shape: LayerShape, ranks: Ranks | None) -> Lettered:
    """A method and a layer in letters, with the ranks in use if there are any."""
    values: dict[str, int] = {}

    def named(number: int, name: str) -> int:
        values[name] = int(number)
        return TracedInt.named(number, name)

    def all_named(numbers: tuple[int, ...], names: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(map(named, numbers, names))

    sizes = _sizes(shape)
    read = replace(
        shape,
        input_shape=all_named(shape.input_shape, sizes),
        output_shape=all_named(shape.output_shape, _outputs(shape, sizes)),
        weight_shape=all_named(shape.weight_shape, _weights(shape)),
    )
    geometry = shape.geometry
    if isinstance(geometry, ConvGeometry):
        height, width = geometry.stride
        strides = (named(height, "s_H"), named(width, "s_W"))
        groups = named(geometry.groups, "G") if geometry.groups > 1 else 1
        geometry = geometry._replace(stride=strides, groups=groups)
    settings = {field: getattr(method, field) for field in method.letters}
    # Letters stand for integers.
    whole = {field: value for field, value in settings.items() if isinstance(value, int)}
    own = {field: named(value, method.letters[field]) for field, value in whole.items()}
    return Lettered(
        method.model_copy(update=own),
        replace(read, geometry=geometry),
        None if ranks is None else all_named(ranks, tuple(f"k_{size}" for size in sizes)),
        values,
    )


def symbols_explained(shape: LayerShape) -> str:
    """The meaning of the letters: Markdown with LaTeX between dollar signs."""
    ranks = "$k$ is the rank of the mode in its index"
    if shape.is_linear:
        positions = "$T$ tokens" if len(shape.input_shape) == 3 else r"$H \times W$ positions"
        return (
            f"The layer reads a batch of $B$, {positions} and $F$ features, and writes "
            rf"$F_\mathrm{{out}}$ features; {ranks}, $m$ the length of a sub-token."
        )
    grouped = r" in $G$ groups, over $C_\mathrm{g}$ channels each," if shape.is_grouped else ""
    return (
        r"The layer reads a batch of $B$ with $C$ channels of $H \times W$ and writes "
        r"$C_\mathrm{out}$ channels of $H_\mathrm{out} \times W_\mathrm{out}$, with a kernel of "
        rf"$K_\mathrm{{H}} \times K_\mathrm{{W}}$,{grouped} and strides $s_\mathrm{{H}}$ and "
        rf"$s_\mathrm{{W}}$; {ranks}, $R$ the side of a patch, "
        "$m$ the length of a sub-token."
    )


def _sizes(shape: LayerShape) -> tuple[str, ...]:
    if not shape.is_linear:
        return _CONV
    return _TOKENS if len(shape.input_shape) == len(_TOKENS) else _IMAGE_TOKENS


def _outputs(shape: LayerShape, sizes: tuple[str, ...]) -> tuple[str, ...]:
    # A linear layer's output has the positions of its input.
    return (*sizes[:-1], "F_out") if shape.is_linear else ("B", "C_out", "H_out", "W_out")


def _weights(shape: LayerShape) -> tuple[str, ...]:
    if shape.is_linear:
        return "F_out", "F"
    return "C_out", "C_g" if shape.is_grouped else "C", "K_H", "K_W"
