from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from asi_core.linalg.quantisation import GROUP, from_groups, in_groups, quantised, restored
from asi_core.methods import EightBit
from asi_core.methods.base import WarmStart
from asi_core.records import ConvGeometry


def drawn(seed: int, channels: int, scale: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(3, channels, 4, 5, generator=generator, dtype=torch.float64)


@given(
    seed=st.integers(0, 2**20),
    channels=st.integers(1, 6),
    scale=st.floats(1e-30, 1e30),
    offset=st.floats(-10, 10),
    mode=st.integers(0, 3),
)
def test_nothing_is_further_off_than_half_a_step(
    seed: int, channels: int, scale: float, offset: float, mode: int
) -> None:
    x = drawn(seed, channels, scale) + offset * scale
    codes, step, least = quantised(x, mode)
    assert codes.dtype == torch.uint8
    assert codes.shape == x.shape
    assert step.numel() == least.numel() == x.shape[mode]
    off = (restored(codes, step, least) - x).abs()
    assert bool((off <= step * (0.5 + 1e-6)).all())


def test_values_on_the_grid_come_back_exactly() -> None:
    x = torch.arange(256.0).repeat(2, 1).reshape(1, 2, 16, 16)
    assert torch.equal(restored(*quantised(x, 1)), x)
    constant = torch.full((2, 3, 4, 4), 7.25)
    assert torch.equal(restored(*quantised(constant, 1)), constant)
    zeros = torch.zeros(2, 3, 4, 4)
    assert torch.equal(restored(*quantised(zeros, 1)), zeros)


def test_the_whole_range_of_a_type_is_covered() -> None:
    most = torch.finfo(torch.float32).max
    x = torch.tensor([-most, 0.0, most]).reshape(1, 1, 1, 3)
    found = restored(*quantised(x, 1))
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found, x, rtol=1e-2, atol=most / 250)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_seen(bad: float) -> None:
    x = drawn(0, 2, 1.0)
    x[0, 1, 0, 0] = bad
    found = restored(*quantised(x, 1))
    assert bool(found[:, 0].isfinite().all())
    assert not bool(found[:, 1].isfinite().all())


def test_codes_lie_in_memory_as_the_input_does() -> None:
    x = drawn(0, 6, 1.0).contiguous(memory_format=torch.channels_last)
    assert quantised(x, 1)[0].is_contiguous(memory_format=torch.channels_last)


def test_the_gradient_is_that_of_the_restored_input() -> None:
    x, geometry = drawn(0, 6, 1.0), ConvGeometry((1, 1), (1, 1, 1, 1), (1, 1), 1)
    grad_output = torch.randn(3, 8, 4, 5, dtype=torch.float64)
    method = EightBit()
    saved = method.compress(x, tuple(grad_output.shape), geometry, WarmStart())
    found = method.weight_gradient(saved, grad_output, (8, 6, 3, 3), geometry)
    weight = torch.zeros(8, 6, 3, 3, dtype=torch.float64, requires_grad=True)
    codes, step, least = quantised(x, 1)
    torch.nn.functional.conv2d(least + step * codes, weight, padding=1).backward(grad_output)
    torch.testing.assert_close(found, weight.grad)


@given(
    seed=st.integers(0, 2**20),
    count=st.integers(1, 400),
    scale=st.floats(1e-30, 1e30),
    offset=st.floats(-10, 10),
    bits=st.sampled_from([8, 4]),
)
def test_in_groups_nothing_is_further_off_than_half_a_step(
    seed: int, count: int, scale: float, offset: float, bits: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = scale * (torch.randn(count, generator=generator, dtype=torch.float64) + offset)
    codes, scales = in_groups(x, bits)
    groups = -(-count // GROUP)
    assert codes.numel() == groups * GROUP * bits // 8
    assert scales.shape == (groups, 2)
    off = (from_groups(codes, scales, count, bits) - x).abs()
    assert bool((off <= scales[:, 0].repeat_interleave(GROUP)[:count] * (0.5 + 1e-6)).all())
    for part, step in zip(x.split(GROUP), scales[:, 0], strict=True):
        assert step == pytest.approx(float(part.max() - part.min()) / (2**bits - 1), rel=1e-6)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_group_with_a_number_that_is_not_finite_is_not_finite(bits: int) -> None:
    x = torch.arange(3.0 * GROUP)
    x[GROUP + 5] = torch.inf
    found = from_groups(*in_groups(x, bits), len(x), bits)
    assert not found[GROUP : 2 * GROUP].isfinite().any()
    assert found[:GROUP].isfinite().all()
    assert found[2 * GROUP :].isfinite().all()
