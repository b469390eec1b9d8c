from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from asi_core.layers.lean import lean_
from tests.layers.lean.cases import (
    DTYPES,
    SPECIAL,
    assert_trains_like,
    forms,
    in_form,
    lean_twin,
    random_norm,
    shapes,
    values,
)


@given(st.data(), shapes, st.sampled_from(DTYPES), forms, forms, st.booleans(), st.booleans())
@settings(max_examples=150)
def test_a_fixed_normalisation_is_pytorchs_to_the_last_bit(
    data: st.DataObject,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    form: str,
    grad_form: str,
    affine: bool,
    mixed: bool,
) -> None:
    """Parameters in the precision of the input, or in single precision with half inputs."""
    x = in_form(data.draw(values(shape, SPECIAL)).to(dtype), form)
    grad_output = in_form(data.draw(values(shape, SPECIAL)).to(dtype), grad_form)
    half = dtype in (torch.float16, torch.bfloat16)
    plain = random_norm(shape[1], affine=affine).to(torch.float32 if half and mixed else dtype)
    assert_trains_like(lean_twin(plain), plain, x, grad_output)


def trained(norm: nn.BatchNorm2d) -> None:
    norm.requires_grad_(True)


def only_shift_trained(norm: nn.BatchNorm2d) -> None:
    norm.bias.requires_grad_(True)


def in_training_mode(norm: nn.BatchNorm2d) -> None:
    norm.train()


@pytest.mark.parametrize("change", [trained, only_shift_trained, in_training_mode])
def test_a_normalisation_that_needs_its_input_is_the_plain_one(
    change: Callable[[nn.BatchNorm2d], None],
) -> None:
    """Also if it needs it only after it has become lean."""
    plain = random_norm(4)
    layers = [copy.deepcopy(plain), lean_twin(copy.deepcopy(plain))]
    results = []
    for layer in layers:
        assert isinstance(layer, nn.BatchNorm2d)
        change(layer)
        x = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        output = layer(x)
        wanted = [x, *(p for p in layer.parameters() if p.requires_grad)]
        gradients = torch.autograd.grad(output.square().sum(), wanted)
        results.append([output.detach(), *gradients, *layer.buffers()])
    for own, native in zip(results[1], results[0], strict=True):
        assert torch.equal(own, native)
    change(plain)
    model = nn.Sequential(plain)
    assert "input" in lean_(model).kept["0"]
    assert "0" not in lean_(model).replaced


def test_a_normalisation_refuses_what_the_plain_one_refuses() -> None:
    with pytest.raises(ValueError, match="expected 4D"):
        lean_twin(random_norm(4))(torch.randn(2, 4, 3, requires_grad=True))
