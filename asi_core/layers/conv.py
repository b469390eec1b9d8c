"""A convolution that keeps what its method keeps, instead of its input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core.layers.compressed import CompressedLayer
from asi_core.records import ConvGeometry, Geometry


class CompressedConv2d(CompressedLayer, nn.Conv2d):
    """A `nn.Conv2d` whose input is kept compressed from forward to backward."""

    plain = nn.Conv2d
    weight: nn.Parameter
    bias: nn.Parameter | None

    @property
    def geometry(self) -> ConvGeometry:
        return conv_geometry(self)

    def padded(self, x: Tensor) -> Tensor:
        return padded_input(self, x)

    def padded_backward(self, gradient: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        if self.padding_mode == "zeros":
            return gradient
        with torch.enable_grad():
            # Padding is linear, so its gradient is the same for any input.
            x = gradient.new_zeros(input_shape, requires_grad=True)
            (found,) = torch.autograd.grad(self.padded(x), x, gradient)
        return found

    @staticmethod
    def product(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        assert isinstance(geometry, ConvGeometry)
        top, bottom, left, right = geometry.padding
        padding = (top, left)
        if not geometry.symmetric_padding:
            x, padding = F.pad(x, (left, right, top, bottom)), (0, 0)
        stride, dilation, groups = geometry.stride, geometry.dilation, geometry.groups
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


def padded_input(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """`x` as the kernel receives it: padded by `conv`'s padding mode, unless that is zeros."""
    if conv.padding_mode == "zeros":
        return x
    return F.pad(x, conv._reversed_padding_repeated_twice, mode=conv.padding_mode)


def conv_geometry(conv: nn.Conv2d) -> ConvGeometry:
    """The geometry that the kernel receives: non-zero padding modes pad before the convolution."""
    padding = _zeros_around(conv) if conv.padding_mode == "zeros" else (0, 0, 0, 0)
    return ConvGeometry(_pair(conv.stride), padding, _pair(conv.dilation), conv.groups)


def _zeros_around(conv: nn.Conv2d) -> tuple[int, int, int, int]:
    """Top, bottom, left, right, as `forward` reads them: they may have been changed since."""
    if conv.padding == "valid":
        return 0, 0, 0, 0
    if conv.padding == "same":
        sizes = zip(_pair(conv.dilation), conv.kernel_size, strict=True)
        height, width = (dilation * (size - 1) for dilation, size in sizes)
        return height // 2, height - height // 2, width // 2, width - width // 2
    assert not isinstance(conv.padding, str)
    vertical, horizontal = _pair(conv.padding)
    return vertical, vertical, horizontal, horizontal


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
