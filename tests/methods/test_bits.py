"""Fewer bits per number: fewer bytes, and nearly the same gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from asi_core.costs.measurement import SavedBytes
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.shapes import layer_shape
from asi_core.layers.surgery import compress_
from asi_core.layers.warm_starts import load_warm_starts_, warm_starts
from asi_core.linalg.quantisation import from_offsets, offsets, packed, unpacked
from asi_core.methods import ASI, METHOD_ADAPTER

RANKS = (4, 6, 3, 3)
FACTORS = 8 * 4 + 16 * 6 + 10 * 3 + 10 * 3
CORE = 4 * 6 * 3 * 3


def images(dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(8, 16, 4, 4, generator=generator)
    return nn.functional.interpolate(coarse, size=(10, 10), mode="bilinear").to(dtype)


def network(**settings: Any) -> tuple[nn.Sequential, CompressedLayer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(16, 24, 3, padding=1))
    compress_(model, ASI(**{"ranks": RANKS, **settings}), layers=1)
    layer = model[0]
    assert isinstance(layer, CompressedLayer)
    return model, layer


def gradient(steps: int, dtype: torch.dtype = torch.float32, **settings: Any) -> Tensor:
    model, layer = network(**settings)
    model.to(dtype)
    for _ in range(steps):
        model.zero_grad()
        model(images(dtype)).square().sum().backward()
    assert layer.weight.grad is not None
    return layer.weight.grad


def bytes_kept(bits: int, ranks: Any = RANKS, dtype: torch.dtype = torch.float32) -> int:
    """Measured, and equal to the formula if there is one."""
    model, layer = network(bits=bits, ranks=ranks)
    model.to(dtype)
    x = images(dtype)
    with SavedBytes(model) as meter:
        output = model(x)
    if dtype == torch.float32:
        shape = layer_shape("0", layer, x, output)
        assert meter.total == layer.method.saved_bytes(shape, layer.ranks, "exact")
    # The factors for the next step are not stored twice.
    kept = {16: torch.float16, 8: torch.int8}[bits]
    assert all(factor.dtype == kept for factor in layer.memory.factors.values())
    return meter.total


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_half_precision_is_two_bytes_per_factor_entry(dtype: torch.dtype) -> None:
    assert bytes_kept(16, dtype=dtype) == dtype.itemsize * CORE + 2 * FACTORS


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_eight_bits_are_a_byte_per_number_and_a_step_per_column(dtype: torch.dtype) -> None:
    # The core's longest mode is the channels; other types keep its scales in their own precision.
    of_core = 6 * min(dtype.itemsize, 4)
    assert bytes_kept(8, dtype=dtype) == CORE + FACTORS + 4 * sum(RANKS) + of_core


def test_full_modes_have_neither_factor_nor_steps() -> None:
    assert bytes_kept(8, (4, 16, 3, 10)) == 4 * 16 * 3 * 10 + 8 * 4 + 10 * 3 + 4 * (4 + 3 + 16)
    assert bytes_kept(8, 99) == 8 * 16 * 10 * 10 + 4 * 16


@pytest.mark.parametrize("refresh_every", [1, 3])
@pytest.mark.parametrize(("bits", "most"), [(16, 2e-3), (8, 2e-2)])
def test_the_gradient_is_next_to_that_of_single_precision(
    bits: int, most: float, refresh_every: int
) -> None:
    update = {"refresh_every": refresh_every, "update": "every_step"}
    exact = gradient(5, **update)
    found = gradient(5, **update, bits=bits)
    assert float((found - exact).norm() / exact.norm()) < most
    assert not torch.equal(found, exact)


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_get_a_gradient_of_their_own_type(dtype: torch.dtype, bits: int) -> None:
    found, exact = gradient(2, dtype, bits=bits), gradient(2, dtype)
    assert found.dtype == dtype
    assert float((found - exact).norm() / exact.norm()) < 3e-2


def test_all_ranks_keep_the_input_in_eight_bits() -> None:
    found, exact = gradient(1, ranks=99, bits=8), gradient(1, ranks=99)
    assert float((found - exact).norm() / exact.norm()) < 1e-2


def test_zero_and_not_finite_inputs() -> None:
    model, layer = network(bits=8)
    for value, expected in ((0.0, 0.0), (float("inf"), float("nan"))):
        model.zero_grad()
        model(torch.full((8, 16, 10, 10), value)).sum().backward()
        assert layer.weight.grad is not None
        wanted = torch.full_like(layer.weight.grad, expected)
        assert torch.equal(layer.weight.grad.isfinite(), wanted.isfinite())
        assert layer.memory.factors == {}, "the next step must not start from it"


@pytest.mark.parametrize("bits", [16, 8])
def test_the_warm_start_can_be_loaded(bits: int) -> None:
    first, _ = network(bits=bits)
    second, _ = network(bits=bits)
    first(images()).sum().backward()
    second.load_state_dict(first.state_dict())
    load_warm_starts_(second, warm_starts(first))
    for model in (first, second):
        model.zero_grad()
        model(images() + 1).square().sum().backward()
    assert torch.equal(first[0].weight.grad, second[0].weight.grad)


@pytest.mark.parametrize(("first", "second"), [(32, 8), (8, 32), (16, 8), (8, 16)])
def test_training_continues_from_a_state_with_other_bits(first: int, second: int) -> None:
    before, layer = network(bits=first)
    for _ in range(3):
        before(images()).sum().backward()
    after, taken_up = network(bits=second)
    after.load_state_dict(before.state_dict())
    load_warm_starts_(after, warm_starts(before))
    after(images()).sum().backward()
    assert taken_up.memory.age == layer.memory.age + 1
    dtype = {32: torch.float32, 16: torch.float16, 8: torch.int8}[second]
    assert {factor.dtype for factor in taken_up.memory.factors.values()} == {dtype}


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 99), st.floats(1e-20, 1e20))
def test_every_entry_is_half_a_step_off_at_most(
    size: int, rank: int, seed: int, scale: float
) -> None:
    x = torch.randn(size, rank, generator=torch.Generator().manual_seed(seed)) * scale
    x[:, 0] = 0
    step = x.abs().amax(0) / 127
    assert bool(((unpacked(packed(x), x.dtype) - x).abs() <= 0.5001 * step).all())
    codes, steps = offsets(x, 1)
    assert torch.equal(from_offsets(codes, steps, 1, x.dtype), unpacked(packed(x), x.dtype))


@pytest.mark.parametrize(("had", "bits"), [(True, 16), (False, 32)])
def test_runs_of_earlier_versions_are_read(had: bool, bits: int) -> None:
    read = METHOD_ADAPTER.validate_python({"kind": "asi", "ranks": 2, "half_factors": had})
    assert read == ASI(ranks=2, bits=bits)
