"""Operators on shapes alone give what the same operators give for numbers, the second time too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from asi_core.costs.dispatch import OperatorMode
from asi_core.costs.timeline.known_results import KnownResults

Operation = Callable[[Tensor], Any]


class Asking(OperatorMode):
    """Asks `results` for what operators give."""

    def __init__(self, results: KnownResults) -> None:
        super().__init__()
        self._results = results

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._results(func, args, kwargs or {})


class Counting(OperatorMode):
    """Counts the operators that reach it."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


# What several examples have seen.
SHARED = KnownResults()


def described(result: Any, argument: Tensor) -> Any:
    """What is known of tensors without numbers, whose storage they share included."""
    if isinstance(result, Tensor):
        storage = result.untyped_storage()
        shares = storage._cdata == argument.untyped_storage()._cdata
        layout = tuple(result.shape), result.stride(), result.storage_offset()
        return layout, result.dtype, storage.nbytes(), shares, result is argument
    if isinstance(result, (tuple, list)):
        return type(result), [described(one, argument) for one in result]
    return result


def convolution_gradients(x: Tensor) -> Any:
    weight = torch.empty(4, x.shape[1], 3, 3)
    y = F.conv2d(x, weight, padding=1)
    geometry = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, False])
    return torch.ops.aten.convolution_backward(y, x, weight, None, *geometry)


OPERATIONS: dict[str, Operation] = {
    "new": lambda x: x + 1,
    "of another type": lambda x: x > 0,
    "by an integer": lambda x: x.to(torch.int64) * 2,
    "by a float": lambda x: x.to(torch.int64) * 2.0,
    "by a truth value": lambda x: x.to(torch.int64) * True,
    "view": lambda x: x.view(x.shape[0], -1),
    "part": lambda x: x[1:, 1],
    "views": lambda x: x.unbind(1),
    "split": lambda x: x.split(2),
    "in place": lambda x: x.mul_(2),
    "into another": lambda x: torch.add(x, 1, out=torch.empty_like(x)),
    "view in place": lambda x: x.transpose_(0, 1),
    "several": lambda x: torch.aminmax(x, dim=0),
    "with None": convolution_gradients,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last).relu(),
    "expanded": lambda x: x.sum().expand(3, 2),
    "factors": lambda x: torch.linalg.qr(x.flatten(1)),
    "permuted": lambda x: x.permute(0, 2, 3, 1).clone(),
    "list of tensors": lambda x: torch.cat([x, x.flip(0)]),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_results_are_those_of_numbers(name: str) -> None:
    operation, results = OPERATIONS[name], KnownResults()
    real = torch.rand(4, 3, 5, 5)
    expected = described(operation(real), real)
    for _ in range(3):
        with FakeTensorMode():
            x = torch.rand(4, 3, 5, 5)
            with Asking(results):
                result = operation(x)
            assert described(result, x) == expected


def test_what_was_seen_is_not_asked_again() -> None:
    results, asked = KnownResults(), []
    for _ in range(2):
        with FakeTensorMode(), Counting() as counting:
            x = torch.empty(4, 3)
            with Asking(results):
                (x @ x.t()).relu_().flatten()
            asked.append(counting.count)
    # The new tensor, which no other tensor has led to, is asked for each time.
    assert asked[0] > asked[1] == 1


@given(
    sizes=st.tuples(st.integers(5, 8), st.integers(5, 8)),
    names=st.lists(st.sampled_from(sorted(OPERATIONS)), max_size=6),
)
def test_results_of_other_shapes(sizes: tuple[int, int], names: list[str]) -> None:
    for name in names:
        real = torch.rand(4, 3, *sizes)
        expected = described(OPERATIONS[name](real), real)
        with FakeTensorMode():
            x = torch.rand(4, 3, *sizes)
            with Asking(SHARED):
                result = OPERATIONS[name](x)
            assert described(result, x) == expected


def test_arguments_that_share_a_storage() -> None:
    results = KnownResults()
    for _ in range(2):
        with FakeTensorMode():
            whole = torch.empty(8)
            first, second = whole[:4], whole[4:]
            with Asking(results):
                added = second.add_(first)
                part = torch.ops.aten.expand_as(second, first)
            assert added is second
            assert part.storage_offset() == 4


def test_arguments_that_differ_in_layout_alone() -> None:
    results = KnownResults()
    with FakeTensorMode():
        rows = torch.empty(4, 4)
        columns, later = rows.t(), torch.empty(5, 4)[1:]
        with Asking(results):
            assert rows.clone().stride() == (4, 1)
            assert columns.clone().stride() == (1, 4)
            assert rows[2].storage_offset() == 8
            assert later[2].storage_offset() == 12
