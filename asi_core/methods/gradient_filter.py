"""Gradient filtering (Yang et al., CVPR 2023): both gradients on patches of the output."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from asi_core import linalg
from asi_core.counting import ceil_div
from asi_core.fields import Setting
from asi_core.methods import costs
from asi_core.methods.base import Method, MethodStyle, Saved, WarmStart
from asi_core.records import (
    ELEMENT_BYTES,
    Convention,
    ConvGeometry,
    Geometry,
    LayerShape,
    LinearGeometry,
    Macs,
    Ranks,
)

if TYPE_CHECKING:
    from torch import Tensor


class GradientFilter(Method):
    """Keeps sums of the input over windows; the input gradient is approximate too.

    Attributes:
        patch: R, the side of the output patches over which the output gradient is averaged.
    """

    kind: Literal["gradient_filter"] = "gradient_filter"
    label: ClassVar[str] = "Gradient filter"
    summary: ClassVar[str] = (
        "A method (CVPR 2023) that averages the output gradient over patches and keeps sums of the "
        "input over the same patches."
    )
    style: ClassVar[MethodStyle] = MethodStyle("#009E73", "dashdot", "triangle-up")
    kept: ClassVar[str] = "sums over windows"
    why_no_picture: ClassVar[str] = (
        "The gradient filter averages output gradients and keeps sums of the input over windows: "
        "no picture can be rebuilt from them."
    )
    letters: ClassVar[Mapping[str, str]] = {"patch": "R"}
    patch: Annotated[
        int,
        Setting(
            "Patch",
            "R: the output gradient is averaged over R × R patches. 1 filters nothing.",
            least=1,
            # Larger than any layer's output.
            most=4096,
            step=1,
            way_out="2 is the published choice",
            plural="patches",
        ),
    ] = 2

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(patch=2), cls(patch=1)

    def is_exact(self, shape: LayerShape) -> bool:
        # Windows of one element; larger kernels span several of them.
        return self.patch == 1 and prod(shape.weight_shape[2:]) == 1

    @property
    def settings_label(self) -> str:
        return f"{self.label}, patch {self.patch}"

    @classmethod
    def why_unsupported(cls, geometry: Geometry) -> str | None:
        if isinstance(geometry, LinearGeometry):
            return "gradient filtering averages over image patches, which tokens do not have"
        return None

    def compress(
        self, x: Tensor, output_shape: tuple[int, ...], geometry: Geometry, memory: WarmStart
    ) -> Saved:
        assert isinstance(geometry, ConvGeometry)
        size = (output_shape[2], output_shape[3])
        return (linalg.patches.window_sums(x, size, geometry.stride, self.patch),)

    def weight_gradient(
        self,
        saved: Saved,
        grad_output: Tensor,
        weight_shape: tuple[int, ...],
        geometry: Geometry,
    ) -> Tensor:
        (sums,) = saved
        assert sums is not None
        return linalg.patches.filtered_weight_gradient(
            sums, grad_output, weight_shape, geometry.groups, self.patch
        )

    def input_gradient(
        self,
        grad_output: Tensor,
        weight: Tensor,
        input_shape: tuple[int, ...],
        geometry: Geometry,
    ) -> Tensor:
        assert isinstance(geometry, ConvGeometry)
        patches = linalg.patches
        dilated = self._is_dilated(geometry)
        gradient = patches.dilated_input_gradient if dilated else patches.filtered_input_gradient
        return gradient(grad_output, weight, input_shape, geometry, self.patch)

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        if convention == "exact":
            return ELEMENT_BYTES * prod(shape.input_shape[:2]) * self._patches(shape)
        windows = [
            self._paper_windows(*sizes)
            for sizes in zip(
                shape.input_shape[2:], shape.output_shape[2:], _conv(shape).stride, strict=True
            )
        ]
        return ELEMENT_BYTES * prod(shape.input_shape[:2]) * prod(windows)

    def macs(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> Macs:
        return self._paper_macs(shape) if convention == "paper" else self._exact_macs(shape)

    def _is_dilated(self, geometry: ConvGeometry) -> bool:
        """Whether kernel positions are so far apart that they fall into different patches."""
        return min(geometry.dilation) >= max(self.patch, 2)

    def _patches(self, shape: LayerShape) -> int:
        return prod(ceil_div(size, self.patch) for size in shape.output_shape[2:])

    def _paper_windows(self, size: int, output: int, stride: int) -> int:
        window = self.patch * stride
        margin = ceil_div(ceil_div(output, self.patch) * window - size, 2)
        return (size + 2 * margin - window) // window + 1

    def _paper_macs(self, shape: LayerShape) -> Macs:
        batch, channels, height, width = shape.input_shape
        _, outputs, output_height, output_width = shape.output_shape
        dense = costs.dense_step(shape, "paper")
        kernel, area = prod(shape.weight_shape[2:]), self.patch**2
        return Macs(
            forward=dense.forward,
            overhead=height * width * (area - 1) * channels * batch // area,
            weight_gradient=2 * batch * outputs * output_height * output_width // area
            + channels * outputs * (kernel - 1)
            + dense.forward,
        )

    def _exact_macs(self, shape: LayerShape) -> Macs:
        """One accumulation per element for the sums; both gradients are products on patches."""
        dense = costs.dense_step(shape, "exact")
        taps = prod(shape.weight_shape[2:])
        dilated = self._is_dilated(_conv(shape))
        pairs = prod(shape.weight_shape[:2])
        product = shape.input_shape[0] * pairs * self._patches(shape)
        backward = product * (taps if dilated else 1) + (0 if dilated else pairs * taps)
        return Macs(
            forward=dense.forward,
            overhead=prod(shape.input_shape) + prod(shape.output_shape),
            input_gradient=backward if shape.has_input_gradient else 0,
            weight_gradient=product,
        )


def _conv(shape: LayerShape) -> ConvGeometry:
    assert isinstance(shape.geometry, ConvGeometry), "other layers are rejected earlier"
    return shape.geometry
