from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from asi_core.costs.measurement import SavedBytes
from asi_core.layers.lean import lean_
from tests.layers.lean.cases import (
    DTYPES,
    SPECIAL,
    assert_trains_like,
    forms,
    in_form,
    lean_twin,
    shapes,
    values,
)


@pytest.mark.parametrize("kind", [nn.ReLU, nn.ReLU6])
@given(st.data(), shapes, st.sampled_from(DTYPES), forms, forms, st.booleans())
@settings(max_examples=150)
def test_activations_are_pytorchs_to_the_last_bit(
    kind: Any,
    data: st.DataObject,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    form: str,
    grad_form: str,
    inplace: bool,
) -> None:
    """Infinities, zeros of both signs, exactly 6; also NaN in the input and in the gradient."""
    special = SPECIAL
    if kind is nn.ReLU6 and (form != grad_form or form == "every second"):
        # PyTorch's own gradient at NaN depends on the place there: see the class.
        special = SPECIAL[1:]
    x = in_form(data.draw(values(shape, special)).to(dtype), form)
    grad_output = in_form(data.draw(values(shape, SPECIAL)).to(dtype), grad_form)
    plain = kind(inplace)
    assert_trains_like(lean_twin(plain), plain, x, grad_output)


def test_a_leaf_cannot_be_changed_in_place() -> None:
    with pytest.raises(RuntimeError, match="in-place"):
        lean_twin(nn.ReLU(inplace=True))(torch.randn(2, 4, requires_grad=True))


def test_a_part_can_be_changed_in_place() -> None:
    results = []
    for layer in (nn.ReLU6(inplace=True), lean_twin(nn.ReLU6(inplace=True))):
        x = (8 * torch.randn(4, 6, generator=torch.Generator().manual_seed(0))).requires_grad_()
        moved = x * 1
        layer(moved[:, 1:4])
        results.append([moved.detach(), torch.autograd.grad(moved.square().sum(), x)[0]])
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


GATES = [
    nn.LeakyReLU(0.2),
    nn.LeakyReLU(0.01, inplace=True),
    nn.Hardtanh(-1.0, 3.0),
    nn.Hardtanh(0.0, 6.0, inplace=True),
    nn.Hardsigmoid(),
    nn.Hardsigmoid(inplace=True),
]


@pytest.mark.parametrize("plain", GATES, ids=repr)
@given(st.data(), shapes, st.sampled_from(DTYPES), forms)
@settings(max_examples=60)
def test_other_gates_are_pytorchs_to_the_last_bit(
    plain: nn.Module, data: st.DataObject, shape: tuple[int, ...], dtype: torch.dtype, form: str
) -> None:
    special = [*SPECIAL[1:], -3.0, -2.9999998, 2.9999998]
    x = in_form(data.draw(values(shape, special)).to(dtype), form)
    grad_output = in_form(data.draw(values(shape, SPECIAL[1:])).to(dtype), form)
    assert_trains_like(lean_twin(plain), plain, x, grad_output)


@pytest.mark.parametrize("plain", GATES, ids=repr)
def test_a_gate_keeps_one_bit_per_element(plain: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(16, 16).requires_grad_(False), lean_twin(plain))
    x = torch.randn(8, 16, requires_grad=True)
    with SavedBytes(model) as saved:
        output = model(x)
    assert saved.total == 8 * 16 // 8
    output.sum().backward()


def test_gates_without_a_lean_form_say_why() -> None:
    model = nn.Sequential(nn.LeakyReLU(-0.1), nn.Hardtanh(0, float("inf")))
    assert lean_(model).kept == {
        "0": "its slope is negative",
        "1": "one of its bounds is infinite",
    }
    x = torch.randn(4, 5, requires_grad=True)
    expected = nn.Hardtanh(0, float("inf"))(x)
    assert torch.equal(model[1](x), expected)
