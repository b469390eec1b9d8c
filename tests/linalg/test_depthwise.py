"""The weight gradient of depthwise layers by matrix products, against autograd."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from asi_core.linalg.depthwise import depthwise_weight_gradient
from asi_core.linalg.orders import depthwise_by_windows
from asi_core.linalg.tucker import hosvd, reconstruct
from asi_core.records import ConvGeometry

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def pairs(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@given(
    kernel=pairs(1, 4),
    stride=pairs(1, 3),
    dilation=pairs(1, 2),
    padding=st.tuples(*[st.integers(0, 3)] * 4),
    ranks=st.tuples(*(st.integers(1, most) for most in (4, 6, 7, 8))),
    layout=st.sampled_from(LAYOUTS),
)
def test_it_is_that_of_the_rebuilt_input(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    ranks: tuple[int, ...],
    layout: torch.memory_format,
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 6, 7, 8, generator=generator, dtype=torch.float64)
    tucker = hosvd(x, ranks=ranks)
    weight = torch.randn(6, 1, *kernel, generator=generator, dtype=torch.float64)
    weight.requires_grad_()
    top, bottom, left, right = padding
    padded = F.pad(reconstruct(tucker), (left, right, top, bottom))
    output = F.conv2d(padded, weight, None, stride, 0, dilation, 6)
    grad_output = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    grad_output = grad_output.contiguous(memory_format=layout)
    (expected,) = torch.autograd.grad(output, weight, grad_output)
    geometry = ConvGeometry(stride, padding, dilation, 6)
    found = depthwise_weight_gradient(tucker, grad_output, tuple(weight.shape), geometry)
    assert_close(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("sizes", "ranks", "weight_shape", "groups", "expected"),
    [
        ((64, 672, 7, 7), (16, 32, 4, 4), (672, 1, 5, 5), 672, True),
        ((64, 384, 7, 7), (16, 32, 4, 4), (384, 1, 7, 7), 384, True),
        # Many directions of positions: each channel's product would be larger than the window.
        ((64, 576, 14, 14), (4, 8, 14, 14), (576, 1, 5, 5), 576, False),
        # A small kernel.
        ((64, 576, 7, 7), (16, 32, 4, 4), (576, 1, 3, 3), 576, False),
        # The batch is whole.
        ((16, 576, 7, 7), (16, 32, 4, 4), (576, 1, 5, 5), 576, False),
        # Several channels in a group, and several outputs of a channel.
        ((64, 576, 7, 7), (16, 32, 4, 4), (576, 2, 5, 5), 288, False),
        ((64, 576, 7, 7), (16, 32, 4, 4), (1152, 1, 5, 5), 576, False),
    ],
)
def test_it_is_used_where_it_takes_fewer_multiplies(
    sizes: tuple[int, ...],
    ranks: tuple[int, ...],
    weight_shape: tuple[int, ...],
    groups: int,
    expected: bool,
) -> None:
    output_shape = (sizes[0], weight_shape[0], *sizes[2:])
    assert depthwise_by_windows(sizes, ranks, output_shape, weight_shape, groups) == expected
