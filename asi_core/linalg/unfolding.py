"""Unfoldings of a tensor along its modes (0-based), and products with them.

A mode is processed through the three-way view L x D x R of the tensor. D is the mode, L the
product of the sizes before it in memory, and R of those after it. No product here builds the
unfolding, nor copies a tensor that is dense in memory, in whichever order.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Up to this many slices a batch of small products is faster than the copy for one large product.
_MOST_SLICES = 512
# A matrix times its transpose takes less time in blocks of rows, if it has many.
_LEAST_ROWS, _ROWS_AT_A_TIME = 256, 128
CHANNELS_LAST = (0, 2, 3, 1)


def unfold(tensor: Tensor, mode: int) -> Tensor:
    """The mode's unfolding: its size x the product of all other sizes (Kolda & Bader 2009, 2.4)."""
    return tensor.movedim(mode, 0).reshape(tensor.shape[mode], -1)


def mode_product(tensor: Tensor, matrix: Tensor, mode: int) -> Tensor:
    """`tensor` x_mode `matrix`: the mode of size D becomes J, for a J x D matrix.

    The result has the memory order of the tensor.
    """
    return Ordered.of(tensor).product(matrix, mode).tensor()


def mode_inner(left: Tensor, right: Tensor, mode: int) -> Tensor:
    """left_(mode) right_(mode)^T: the sum over all other modes, D_left x D_right."""
    ordered = Ordered.of(left)
    return ordered.inner(Ordered(right.permute(ordered.order), ordered.order), mode)


def mode_gram(tensor: Tensor, mode: int) -> Tensor:
    """`mode_inner` of a tensor with itself."""
    ordered = Ordered.of(tensor)
    three = ordered._three_way(mode)
    if three.shape[0] == 1:
        return gram(three[0])
    if three.shape[2] == 1:
        return gram(three[:, :, 0].T)
    return ordered.inner(ordered, mode)


def gram(matrix: Tensor) -> Tensor:
    """A A^T of a matrix, M x N -> M x M.

    On the CPU, that of a large one is computed up to the diagonal, and the rest copied: a third of
    the time less.
    """
    rows = len(matrix)
    if rows < _LEAST_ROWS or matrix.device.type != "cpu":
        return matrix @ matrix.T
    product = matrix.new_empty(rows, rows)
    for start in range(0, rows, _ROWS_AT_A_TIME):
        stop = start + _ROWS_AT_A_TIME
        product[start:stop, :stop] = matrix[start:stop] @ matrix[:stop].T
        product[:start, start:stop] = product[start:stop, :start].T
    return product


class Ordered(NamedTuple):
    """A tensor with its modes permuted into memory order.

    Use it for several products in a row: finding the order and permuting back takes as long as a
    product of a small core.

    Attributes:
        dense: the tensor, its modes permuted.
        order: the mode of the tensor that each mode of `dense` is.
    """

    dense: Tensor
    order: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> Ordered:
        """The permuted tensor, not copied."""
        order = tuple(memory_order(tensor))
        return cls(tensor.permute(order), order)

    def tensor(self) -> Tensor:
        """The tensor with its modes in their original order."""
        return self.dense.permute(_inverse(self.order))

    def product(self, matrix: Tensor, mode: int) -> Ordered:
        """`mode_product`."""
        is_narrower = matrix.shape[0] < matrix.shape[1]
        on_cpu = self.dense.device.type == "cpu"
        if mode == 1 and is_narrower and self.order == CHANNELS_LAST and on_cpu:
            # Its kernel is faster than the matrix product's with few rows. Not on accelerators,
            # whose convolutions may round to fewer bits.
            product = F.conv2d(self.dense.permute(0, 3, 1, 2), matrix[:, :, None, None])
            return Ordered(product.permute(0, 2, 3, 1), self.order)
        three = self._three_way(mode)
        if three.shape[2] == 1:
            product = three[:, :, 0] @ matrix.T
        elif three.shape[0] == 1:
            product = matrix @ three[0]
        else:
            product = torch.bmm(matrix.expand(three.shape[0], -1, -1), three)
        shape = list(self.dense.shape)
        shape[self.order.index(mode)] = matrix.shape[0]
        return Ordered(product.view(shape), self.order)

    def inner(self, other: Ordered, mode: int) -> Tensor:
        """`mode_inner` of two tensors in the same order."""
        a, b = self._three_way(mode), other._three_way(mode)
        inner: Tensor
        if a.shape[0] == 1:
            inner = a[0] @ b[0].T
        elif a.shape[2] == 1:
            inner = a[:, :, 0].T @ b[:, :, 0]
        elif a.shape[0] <= _MOST_SLICES:
            inner = torch.bmm(a, b.transpose(1, 2)).sum(0)
        else:
            inner = torch.tensordot(a, b, dims=([0, 2], [0, 2]))
        return inner

    def _three_way(self, mode: int) -> Tensor:
        """The modes before `mode`, itself, and those after it: a view, if memory is dense."""
        place, shape = self.order.index(mode), self.dense.shape
        return self.dense.reshape(prod(shape[:place]), shape[place], prod(shape[place + 1 :]))


def memory_order(tensor: Tensor) -> list[int]:
    """The modes in memory order, the slowest varying first."""
    return sorted(range(tensor.dim()), key=tensor.stride, reverse=True)


def orthonormal(matrix: Tensor) -> Tensor:
    """An orthonormal basis that contains the columns' span, of the same shape (D x K, K <= D).

    Householder QR: it stays finite and orthonormal on zero, rank-deficient, tiny and huge input,
    where Cholesky-based variants do not.
    """
    # Row by row, as a saved warm start is loaded: products round differently in another order.
    basis: Tensor = torch.linalg.qr(matrix)[0].contiguous()
    return basis


def random_orthonormal(size: int, rank: int, seed: int, like: Tensor) -> Tensor:
    """A random orthonormal size x rank matrix, from a separate generator.

    Drawn on the CPU so that all devices start from the same numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    gaussian = torch.randn(size, rank, generator=generator, dtype=torch.float64)
    return orthonormal(gaussian).to(like)


def _inverse(order: Sequence[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)
