from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.layers.surgery import compress_
from asi_core.linalg.gradients import tucker_weight_gradient
from asi_core.linalg.tucker import hosvd, reconstruct
from asi_core.methods import ASI, HOSVD
from asi_core.records import LinearGeometry

Case = tuple[nn.Linear, Tensor, Tensor]


@st.composite
def linear_cases(draw: st.DrawFn) -> Case:
    """A linear layer in float64 on a 2-D, 3-D or 4-D input, and an output gradient."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    features, outputs = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    layer = nn.Linear(features, outputs, bias=draw(st.booleans()), dtype=torch.float64)
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    x = torch.randn(*sizes, features, dtype=torch.float64)
    return layer, x, torch.randn(*sizes, outputs, dtype=torch.float64)


def gradients(model: nn.Module, x: Tensor, grad_output: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    return list(torch.autograd.grad(model(x), [x, *model.parameters()], grad_output))


@given(linear_cases(), st.sampled_from([ASI(ranks=99), HOSVD(explained_variance=1.0)]))
@settings(max_examples=200)
def test_at_full_rank_all_gradients_are_autograds(case: Case, method: ASI | HOSVD) -> None:
    layer, x, grad_output = case
    model = nn.Sequential(layer)
    expected_output, expected = model(x), gradients(model, x, grad_output)
    compress_(model, method, layers=["0"])
    assert torch.equal(model(x), expected_output)
    for found, wanted in zip(gradients(model, x, grad_output), expected, strict=True):
        assert_close(found, wanted, rtol=1e-8, atol=1e-9)


@given(linear_cases(), st.data())
@settings(max_examples=100)
def test_compressed_gradient_is_that_of_the_rebuilt_input(case: Case, data: st.DataObject) -> None:
    layer, x, grad_output = case
    ranks = [min(data.draw(st.integers(1, size)), x.numel() // size) for size in x.shape]
    tucker = hosvd(x, ranks=ranks)
    _, expected, *_ = gradients(layer, reconstruct(tucker), grad_output)
    shape = tuple(layer.weight.shape)
    found = tucker_weight_gradient(tucker, grad_output, shape, LinearGeometry())
    assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_a_wrong_number_of_ranks_is_reported() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    compress_(model, ASI(ranks=(2, 2, 2, 2)), layers=["0"])
    with pytest.raises(Exception, match="2 numbers, one per mode"):
        model(torch.randn(3, 4))
