from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from asi_core.costs.measurement import SavedBytes
from asi_core.layers.lean import lean_
from asi_core.layers.lean.pooling import Mean
from tests.layers.lean.cases import (
    DTYPES,
    FORMS,
    SPECIAL,
    forms,
    in_form,
    lean_twin,
    shapes,
    values,
)

MODES: list[int | tuple[int, ...]] = [1, -1, (2, 3), (-1, -2), (0, 2)]


class Calling(nn.Module):
    """Two ways to call for a mean."""

    def __init__(self, modes: int | tuple[int, ...], keepdim: bool) -> None:
        super().__init__()
        self.modes, self.keepdim = modes, keepdim

    def forward(self, x: Tensor) -> Tensor:
        first = x.mean(self.modes, self.keepdim)
        return first - 2 * torch.mean(x, dim=self.modes, keepdim=self.keepdim)


def output_and_gradient(layer: nn.Module, x: Tensor, grad_output: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.detach().requires_grad_()
    output = layer(leaf)
    return output.detach(), torch.autograd.grad(output, leaf, grad_output)[0]


@given(st.data(), shapes, st.sampled_from(DTYPES), forms)
def test_a_mean_of_all_positions_is_pytorchs_to_the_last_bit(
    data: st.DataObject, shape: tuple[int, ...], dtype: torch.dtype, form: str
) -> None:
    x = in_form(data.draw(values(shape, SPECIAL)).to(dtype), form)
    grad_output = data.draw(values((*shape[:2], 1, 1), SPECIAL)).to(dtype)
    plain = nn.AdaptiveAvgPool2d(1)
    expected = output_and_gradient(plain, x, grad_output)
    for own, native in zip(
        output_and_gradient(lean_twin(plain), x, grad_output), expected, strict=True
    ):
        torch.testing.assert_close(own, native, rtol=0, atol=0, equal_nan=True)


@given(st.data(), shapes, st.sampled_from(DTYPES), forms, st.sampled_from(MODES), st.booleans())
def test_a_mean_that_is_called_is_pytorchs_to_the_last_bit(
    data: st.DataObject,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    form: str,
    modes: int | tuple[int, ...],
    keepdim: bool,
) -> None:
    x = in_form(data.draw(values(shape, SPECIAL)).to(dtype), form)
    model = Calling(modes, keepdim)
    twin = fx.symbolic_trace(copy.deepcopy(model))
    assert len(lean_(twin).replaced) == 2
    grad_output = torch.randn(model(x).shape, dtype=dtype)
    expected = output_and_gradient(model, x, grad_output)
    for own, native in zip(output_and_gradient(twin, x, grad_output), expected, strict=True):
        torch.testing.assert_close(own, native, rtol=0, atol=0, equal_nan=True)


def test_a_mean_with_numpys_arguments_is_left_alone() -> None:
    class Centred(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - x.mean(1, keepdims=True)

    traced, x = fx.symbolic_trace(Centred()), torch.randn(3, 3)
    assert lean_(traced).replaced == ()
    assert torch.equal(traced(x), Centred()(x))


def test_a_mean_of_another_type_is_left_alone() -> None:
    class Other(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean() + x.mean(1, dtype=torch.float64).mean(dtype=torch.float64)

    assert lean_(fx.symbolic_trace(Other())).replaced == ()


@pytest.mark.parametrize("form", FORMS[:3])
def test_its_gradient_lies_as_its_input_does(form: str) -> None:
    x = in_form(torch.randn(2, 3, 5, 4), form)
    for layer in (nn.AdaptiveAvgPool2d((1, 1)), Mean((2, 3), keepdim=True)):
        _, gradient = output_and_gradient(lean_twin(layer), x, torch.randn(2, 3, 1, 1))
        assert gradient.stride() == x.stride()


def test_one_picture_is_pooled_as_by_the_plain_layer() -> None:
    x = torch.randn(3, 5, 5, requires_grad=True)
    assert torch.equal(lean_twin(nn.AdaptiveAvgPool2d(1))(x), F.adaptive_avg_pool2d(x, 1))


def test_pooling_to_more_than_one_position_is_left_alone() -> None:
    for size in (2, (1, 2), (None, 1)):
        report = lean_(nn.Sequential(nn.AdaptiveAvgPool2d(size)))
        assert report.replaced == ()
        assert "unless it averages over all positions" in report.kept["0"]


@st.composite
def max_pools(draw: st.DrawFn) -> nn.MaxPool2d:
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    return nn.MaxPool2d(
        kernel,
        draw(st.sampled_from([None, 1, 2, (1, 3)])),
        tuple(draw(st.integers(0, size // 2)) for size in kernel),
        draw(st.sampled_from([1, (2, 1)])),
        ceil_mode=draw(st.booleans()),
    )


@given(max_pools(), st.data(), st.sampled_from(DTYPES), forms)
@settings(max_examples=100)
def test_a_maximum_is_pytorchs_to_the_last_bit(
    plain: nn.MaxPool2d, data: st.DataObject, dtype: torch.dtype, form: str
) -> None:
    x = in_form(data.draw(values((2, 3, 11, 12), SPECIAL)).to(dtype), form)
    results = []
    for layer in (plain, lean_twin(plain)):
        own = x.detach().clone().requires_grad_()
        output = layer(own)
        grad_output = torch.arange(output.numel(), dtype=dtype).view(output.shape)
        (gradient,) = torch.autograd.grad(output, own, grad_output)
        results.append((output.detach(), gradient))
    for found, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_a_maximum_keeps_one_byte_per_element_of_its_result() -> None:
    model = nn.Sequential(lean_twin(nn.MaxPool2d(3, 2, 1)))
    x = torch.randn(2, 4, 9, 9, requires_grad=True)
    with SavedBytes(model) as saved:
        output = model(x)
    assert saved.total == output.numel() == 2 * 4 * 5 * 5


def test_maxima_without_a_lean_form_say_why() -> None:
    model = nn.ModuleList([nn.MaxPool2d(2, return_indices=True), nn.MaxPool2d(17)])
    assert lean_(model).kept == {
        "0": "it returns the places, which PyTorch keeps",
        "1": "its windows have more places than a byte can tell apart",
        "the model": "torch.fx cannot trace it: the functions that it calls keep what they keep",
    }
    output, places = model[0](torch.randn(1, 1, 4, 4))
    assert (output.shape, places.dtype) == ((1, 1, 2, 2), torch.int64)
