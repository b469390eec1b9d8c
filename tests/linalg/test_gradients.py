from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from asi_core.layers.conv import conv_geometry
from asi_core.linalg.gradients import (
    conv_input_gradient,
    conv_weight_gradient,
    is_larger_than_input,
    tucker_weight_gradient,
)
from asi_core.linalg.tucker import hosvd, reconstruct
from tests.geometries import ConvCase, autograd_gradients, conv_cases


@given(conv_cases())
@settings(max_examples=200)
def test_exact_gradients_are_autograds(case: ConvCase) -> None:
    geometry, shape = conv_geometry(case.conv), tuple(case.conv.weight.shape)
    grad_x, grad_weight = autograd_gradients(case)
    found = conv_weight_gradient(case.x, case.grad_output, shape, geometry)
    assert_close(found, grad_weight, rtol=1e-8, atol=1e-10)
    weight = case.conv.weight.detach()
    found = conv_input_gradient(case.grad_output, weight, tuple(case.x.shape), geometry)
    assert_close(found, grad_x, rtol=1e-8, atol=1e-10)


@given(conv_cases(), st.data())
@settings(max_examples=200)
def test_compressed_gradient_is_that_of_the_rebuilt_input(
    case: ConvCase, data: st.DataObject
) -> None:
    """The compressed space must give the same as the full convolution with the rebuilt input."""
    ranks = [data.draw(st.integers(1, size)) for size in case.x.shape]
    total = case.x.numel()
    ranks = [min(r, total // s) for r, s in zip(ranks, case.x.shape, strict=True)]
    tucker = hosvd(case.x, ranks=ranks)
    geometry, shape = conv_geometry(case.conv), tuple(case.conv.weight.shape)
    _, expected = autograd_gradients(case._replace(x=reconstruct(tucker)))
    found = tucker_weight_gradient(tucker, case.grad_output, shape, geometry)
    assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_pointwise_takes_the_matrix_route() -> None:
    conv = torch.nn.Conv2d(6, 5, 1, bias=False, dtype=torch.float64)
    x = torch.randn(4, 6, 3, 3, dtype=torch.float64)
    case = ConvCase(conv, x, torch.randn(4, 5, 3, 3, dtype=torch.float64))
    tucker = hosvd(x, ranks=(2, 3, 2, 3))
    geometry = conv_geometry(conv)
    assert geometry.is_pointwise((5, 6, 1, 1))
    _, expected = autograd_gradients(case._replace(x=reconstruct(tucker)))
    found = tucker_weight_gradient(tucker, case.grad_output, (5, 6, 1, 1), geometry)
    assert_close(found, expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("outputs", [256, 259])
def test_the_gradient_of_a_large_weight_is_computed_in_parts(
    outputs: int, layout: torch.memory_format
) -> None:
    """Bit for bit that of one product, in the input's layout, with less memory within."""
    conv = nn.Conv2d(128, outputs, 3, padding=1, stride=2).to(memory_format=layout)
    x = torch.randn(3, 128, 6, 6).to(memory_format=layout)
    output = conv(x)
    drawn = torch.randn_like(output)
    (expected,) = torch.autograd.grad(output, conv.weight, drawn)
    shape, geometry = tuple(conv.weight.shape), conv_geometry(conv)
    assert is_larger_than_input(shape, x, geometry)
    found = conv_weight_gradient(x, drawn, shape, geometry)
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=layout)
