from __future__ import annotations

from typing import Any

import pytest
import tensorly
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

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


@given(SHAPES, st.data())
def test_products_work_in_the_order_that_lies_in_memory(
    shape: list[int], data: st.DataObject
) -> None:
    """Dense in any order, expanded or a slice of something larger: the same product."""
    mode = data.draw(st.integers(0, len(shape) - 1))
    order = data.draw(st.permutations(range(len(shape))))
    plain = torch.randn(shape, dtype=torch.float64)
    back = sorted(range(len(shape)), key=order.__getitem__)
    tensor = plain.permute(order).contiguous().permute(back)
    matrix = torch.randn(2, shape[mode], dtype=torch.float64)
    product = mode_product(tensor, matrix, mode)
    torch.testing.assert_close(product, mode_product(plain, matrix, mode))
    if min(shape) > 1:  # otherwise several orders are equal
        assert product.permute(order).is_contiguous()
    torch.testing.assert_close(mode_inner(tensor, plain, mode), mode_inner(plain, plain, mode))
    cut = torch.randn(*shape[:-1], shape[-1] + 2, dtype=torch.float64)[..., 1:-1]
    for other in (cut, plain[:1].expand(shape)):
        expected = mode_product(other.contiguous(), matrix, mode)
        torch.testing.assert_close(mode_product(other, matrix, mode), expected)


def test_a_dense_tensor_is_not_copied() -> None:
    tensor = torch.randn(8, 6, 5, 4).contiguous(memory_format=torch.channels_last)
    for mode, size in enumerate(tensor.shape):
        matrix = torch.randn(2, size)
        with Copies() as copies:
            mode_inner(tensor, mode_product(tensor, matrix, mode), mode)
        assert copies.elements < tensor.numel()


class Copies(TorchDispatchMode):
    """Counts the copied elements while it is open."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.clone, torch.ops.aten.copy_):
            self.elements += result.numel()
        return result


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
