"""Tests that apply to all lean layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from asi_core.costs.measurement import SavedBytes
from asi_core.layers.lean import lean_
from tests.costs.networks import Applied, batch, categories, step
from tests.layers.lean.cases import assert_trains_like, lean_twin, random_norm


@pytest.mark.parametrize("layer", [random_norm(4), nn.ReLU(), nn.ReLU6(), nn.ReLU6(inplace=True)])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_a_summed_loss_and_an_empty_batch_are_pytorchs(
    layer: nn.Module, form: torch.memory_format
) -> None:
    """The gradient of a sum is one number, expanded."""
    for size in (0, 5):
        x = torch.randn(size, 4, 3, 7).contiguous(memory_format=form)
        one = torch.ones(()).expand(x.shape)
        assert_trains_like(lean_twin(layer), layer, x, one)


@pytest.mark.parametrize("side", [6, 5])
@pytest.mark.parametrize(
    ("layer", "category", "bits"),
    [
        (nn.ReLU(), "activation functions", 1),
        (nn.ReLU(inplace=True), "activation functions", 1),
        (nn.ReLU6(), "activation functions", 1),
        (nn.ReLU6(inplace=True), "activation functions", 1),
        (random_norm(3), None, 0),
    ],
)
def test_what_is_kept_is_a_bit_per_element_or_nothing(
    layer: nn.Module, category: str | None, bits: int, side: int
) -> None:
    model = Applied(layer, channels=3)
    assert lean_(model).replaced == ("function",)
    kept = categories(step(model, batch(3, 3, side, side), ["conv"]))
    assert kept.pop("trained layer inputs") == 4 * 3 * 3 * side * side
    assert kept == ({} if category is None else {category: -(-3 * 3 * side * side * bits // 8)})


@pytest.mark.parametrize("layer", [random_norm(4), nn.ReLU(), nn.ReLU6()])
def test_without_a_gradient_nothing_is_kept(layer: nn.Module) -> None:
    lean = lean_twin(layer)
    with SavedBytes(lean) as meter:
        lean(torch.randn(2, 4, 3, 3))
        with torch.no_grad():
            lean(torch.randn(2, 4, 3, 3, requires_grad=True))
        with torch.inference_mode():
            lean(torch.randn(2, 4, 3, 3))
    assert meter.total == 0
