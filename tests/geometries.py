"""Random convolutions for property tests."""

from __future__ import annotations

from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor, nn


class ConvCase(NamedTuple):
    """A convolution in float64, its input, and an output gradient."""

    conv: nn.Conv2d
    x: Tensor
    grad_output: Tensor


@st.composite
def conv_cases(draw: st.DrawFn) -> ConvCase:
    """Any kernel, stride, padding, dilation and grouping that fits the input."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    in_channels = groups * draw(st.integers(1, 3))
    out_channels = groups * draw(st.integers(1, 3))
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    same = draw(st.booleans())
    stride = (1, 1) if same else (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = "same" if same else (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    torch.manual_seed(draw(st.integers(0, 2**16)))
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=draw(st.booleans()),
        dtype=torch.float64,
    )
    least = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [draw(st.integers(n, n + 5)) for n in least]
    x = torch.randn(draw(st.integers(1, 4)), in_channels, *size, dtype=torch.float64)
    return ConvCase(conv, x, torch.randn_like(conv(x)))


def autograd_gradients(case: ConvCase) -> tuple[Tensor, Tensor]:
    """Input and weight gradient by PyTorch's autograd."""
    x = case.x.clone().requires_grad_()
    output = case.conv(x)
    grads = torch.autograd.grad(output, [x, case.conv.weight], case.grad_output)
    return grads[0], grads[1]
