"""Maxima over windows that keep a byte each, and means over positions.

The gradient of a mean has the memory layout of its input. PyTorch returns it in another layout,
which every layer before would then have to convert.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core.layers.differentiating import once_differentiable
from asi_core.layers.lean.layer import LeanLayer, needs_gradient

_POSITIONS = (2, 3)


class LeanAdaptiveAvgPool2d(LeanLayer, nn.AdaptiveAvgPool2d):
    """A `nn.AdaptiveAvgPool2d` to one position, for batches.

    Attributes:
        returns_view: whether its gradient is one number per channel, seen at all positions. Only
            for an input whose own gradient has a layout of its own.
    """

    plain = nn.AdaptiveAvgPool2d
    returns_view: bool = False

    def forward(self, input: Tensor) -> Tensor:
        own = input.dim() == 4 and averages_all(self.output_size)
        if not (own and needs_gradient(input, self)):
            return super().forward(input)
        return cast(
            Tensor, _MeanOverModes.apply(input, _pooled, _POSITIONS, True, self.returns_view)
        )

    def why_input_is_needed(self) -> str | None:
        if averages_all(self.output_size):
            return None
        return "PyTorch keeps its input unless it averages over all positions"


class LeanMaxPool2d(LeanLayer, nn.MaxPool2d):
    """A `nn.MaxPool2d` that keeps one byte per element of its result: the place in the window.

    PyTorch keeps the input and eight bytes per element of the result.
    """

    plain = nn.MaxPool2d

    def forward(self, input: Tensor) -> Tensor:
        own = input.dim() == 4 and self.why_input_is_needed() is None
        if not (own and needs_gradient(input, self)):
            return cast(Tensor, super().forward(input))
        return cast(Tensor, _MaxInWindows.apply(input, self._windows()))

    def why_input_is_needed(self) -> str | None:
        if self.return_indices:
            return "it returns the places, which PyTorch keeps"
        if prod(self._windows().kernel) > 256:
            return "its windows have more places than a byte can tell apart"
        return None

    def _windows(self) -> _Windows:
        kernel, stride = _two(self.kernel_size), _two(self.stride)
        return _Windows(kernel, stride, _two(self.padding), _two(self.dilation), self.ceil_mode)


class _Windows(NamedTuple):
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    ceil_mode: bool


def _two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


class _MaxInWindows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, windows: _Windows) -> Tensor:
        output, places = torch.ops.aten.max_pool2d_with_indices(x, *windows)
        ctx.windows, ctx.shape, ctx.strides = windows, x.shape, x.stride()
        row, column = places // x.shape[3], places % x.shape[3]
        first_row, first_column = _corners(windows, places)
        row = (row - first_row) // windows.dilation[0]
        column = (column - first_column) // windows.dilation[1]
        ctx.save_for_backward((row * windows.kernel[1] + column).to(torch.uint8))
        return cast(Tensor, output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        (kept,) = ctx.saved_tensors
        windows, place = ctx.windows, kept.to(torch.int64)
        first_row, first_column = _corners(windows, place)
        row = place // windows.kernel[1] * windows.dilation[0] + first_row
        column = place % windows.kernel[1] * windows.dilation[1] + first_column
        # For its shape alone.
        like_input = torch.empty_strided(
            ctx.shape, ctx.strides, dtype=grad_output.dtype, device=grad_output.device
        )
        gradient = torch.ops.aten.max_pool2d_with_indices_backward(
            grad_output, like_input, *windows, row * ctx.shape[3] + column
        )
        return gradient, None


def _corners(windows: _Windows, places: Tensor) -> tuple[Tensor, Tensor]:
    """The row and column at which each window begins, which may lie in the padding."""
    rows, columns = (
        torch.arange(count, device=places.device) * step - padding
        for count, step, padding in zip(
            places.shape[2:], windows.stride, windows.padding, strict=True
        )
    )
    return rows[:, None], columns


class Mean(nn.Module):
    """`Tensor.mean` as a layer of a traced graph.

    Attributes:
        modes: the modes to average over.
        keepdim: whether they are kept, with size 1.
    """

    def __init__(self, modes: Sequence[int], *, keepdim: bool) -> None:
        super().__init__()
        self.modes, self.keepdim = tuple(modes), keepdim

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.modes, self.keepdim)

    def extra_repr(self) -> str:
        return f"modes={self.modes}, keepdim={self.keepdim}"


class LeanMean(LeanLayer, Mean):
    """A `Mean` whose gradient has the memory layout of its input.

    Attributes:
        returns_view: as in `LeanAdaptiveAvgPool2d`.
    """

    plain = Mean
    returns_view: bool = False

    def forward(self, x: Tensor) -> Tensor:
        if not needs_gradient(x, self):
            return super().forward(x)
        modes = tuple(mode % x.dim() for mode in self.modes)
        return cast(
            Tensor, _MeanOverModes.apply(x, Tensor.mean, modes, self.keepdim, self.returns_view)
        )


def averages_all(output_size: Any) -> bool:
    """Whether adaptive average pooling to this size has a single output position."""
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,)
    return set(sizes) == {1}


class _MeanOverModes(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mean: Any, modes: tuple[int, ...], keepdim: bool, returns_view: bool
    ) -> Tensor:
        ctx.shape, ctx.strides = x.shape, x.stride()
        ctx.modes, ctx.keepdim, ctx.returns_view = modes, keepdim, returns_view
        return cast(Tensor, mean(x, modes, keepdim))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        share = grad_output / prod(ctx.shape[mode] for mode in ctx.modes)
        if not ctx.keepdim:
            for mode in sorted(ctx.modes):
                share = share.unsqueeze(mode)
        if ctx.returns_view:
            return share.expand(ctx.shape), None, None, None, None
        like_input = torch.empty_strided(
            ctx.shape, ctx.strides, dtype=share.dtype, device=share.device
        )
        return like_input.copy_(share), None, None, None, None


def _pooled(x: Tensor, modes: tuple[int, ...], keepdim: bool) -> Tensor:
    """The mean by the pooling kernel, which may round differently."""
    return F.adaptive_avg_pool2d(x, 1)
