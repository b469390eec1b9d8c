"""Factors in half precision: fewer bytes, and next to the same gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asi_core.costs.measurement import SavedBytes
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.shapes import layer_shape
from asi_core.layers.surgery import compress_
from asi_core.methods import ASI

RANKS = (4, 6, 3, 3)


def images(dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(8, 16, 4, 4, generator=generator)
    return nn.functional.interpolate(coarse, size=(10, 10), mode="bilinear").to(dtype)


def network(**settings: Any) -> tuple[nn.Sequential, CompressedLayer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(16, 24, 3, padding=1))
    compress_(model, ASI(ranks=RANKS, **settings), layers=1)
    layer = model[0]
    assert isinstance(layer, CompressedLayer)
    return model, layer


def gradient(steps: int, **settings: Any) -> Tensor:
    model, layer = network(**settings)
    for _ in range(steps):
        model.zero_grad()
        model(images()).square().sum().backward()
    assert layer.weight.grad is not None
    return layer.weight.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_formula_is_what_is_kept(dtype: torch.dtype) -> None:
    model, layer = network(half_factors=True)
    model.to(dtype)
    x = images(dtype)
    with SavedBytes(model) as meter:
        output = model(x)
    if dtype == torch.float32:
        shape = layer_shape("0", layer, x, output)
        assert meter.total == layer.method.saved_bytes(shape, layer.ranks, "exact")
    factors = 8 * 4 + 16 * 6 + 10 * 3 + 10 * 3
    assert meter.total == dtype.itemsize * 4 * 6 * 3 * 3 + 2 * factors
    # What the next step starts from is not kept a second time.
    assert all(factor.dtype == torch.float16 for factor in layer.memory.factors.values())


@pytest.mark.parametrize("refresh_every", [1, 3])
def test_the_gradient_is_next_to_that_of_single_precision(refresh_every: int) -> None:
    exact = gradient(5, refresh_every=refresh_every)
    found = gradient(5, refresh_every=refresh_every, half_factors=True)
    assert float((found - exact).norm() / exact.norm()) < 2e-3
    assert not torch.equal(found, exact)


def test_the_warm_start_survives_a_state_dict() -> None:
    first, _ = network(half_factors=True)
    second, layer = network(half_factors=True)
    first(images()).sum().backward()
    second.load_state_dict(first.state_dict())
    assert layer.memory.factors[0].dtype == torch.float16
    for model in (first, second):
        model.zero_grad()
        model(images() + 1).square().sum().backward()
    assert torch.equal(first[0].weight.grad, second[0].weight.grad)
