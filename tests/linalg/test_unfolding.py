from __future__ import annotations

import pytest
import tensorly
import torch
from hypothesis import given
from hypothesis import strategies as st

from asi_core.linalg.unfolding import (
    mode_inner,
    mode_product,
    orthonormal,
    random_orthonormal,
    unfold,
)

tensorly.set_backend("pytorch")
SHAPES = st.lists(st.integers(1, 5), min_size=2, max_size=4)


@given(SHAPES, st.data())
def test_unfolding_and_products_agree_with_tensorly(shape: list[int], data: st.DataObject) -> None:
    mode = data.draw(st.integers(0, len(shape) - 1))
    tensor = torch.randn(shape, dtype=torch.float64)
    matrix = torch.randn(3, shape[mode], dtype=torch.float64)
    torch.testing.assert_close(unfold(tensor, mode), tensorly.unfold(tensor, mode))
    expected = tensorly.tenalg.mode_dot(tensor, matrix, mode)
    torch.testing.assert_close(mode_product(tensor, matrix, mode), expected)
    other = torch.randn_like(tensor)
    expected = tensorly.unfold(tensor, mode) @ tensorly.unfold(other, mode).T
    torch.testing.assert_close(mode_inner(tensor, other, mode), expected)


def test_many_slices_take_the_single_product() -> None:
    tensor = torch.randn(40, 20, 3, 4, dtype=torch.float64)
    expected = unfold(tensor, 2) @ unfold(tensor, 2).T
    torch.testing.assert_close(mode_inner(tensor, tensor, 2), expected)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e30])
def test_orthonormal_survives_degenerate_input(scale: float) -> None:
    column = torch.randn(12, 1)
    basis = orthonormal(scale * column @ torch.randn(1, 5))
    torch.testing.assert_close(basis.T @ basis, torch.eye(5), atol=1e-5, rtol=0)


def test_random_start_is_reproducible_and_leaves_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    like = torch.empty(0)
    first, second = (random_orthonormal(9, 4, seed=3, like=like) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, random_orthonormal(9, 4, seed=4, like=like))
    assert torch.equal(torch.random.get_rng_state(), state)
