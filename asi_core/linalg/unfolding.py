"""Unfoldings of a tensor along its modes (0-based), and products with them.

A mode is treated through the three-way view L x D x R of the tensor, where D is the mode, L the
product of the sizes before it and R of those after it: no product here builds the unfolding.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

# Up to this many slices a batch of small products beats the copy that one large product needs.
_MOST_SLICES = 512


def unfold(tensor: Tensor, mode: int) -> Tensor:
    """The mode's unfolding: its size x the product of all other sizes (Kolda & Bader 2009, 2.4)."""
    return tensor.movedim(mode, 0).reshape(tensor.shape[mode], -1)


def mode_product(tensor: Tensor, matrix: Tensor, mode: int) -> Tensor:
    """`tensor` x_mode `matrix`: the mode of size D becomes J, for a J x D matrix."""
    shape = list(tensor.shape)
    three = _three_way(tensor, mode)
    shape[mode] = matrix.shape[0]
    if three.shape[2] == 1:
        return (three[:, :, 0] @ matrix.T).reshape(shape)
    product: Tensor = torch.matmul(matrix, three)
    return product.reshape(shape)


def mode_inner(left: Tensor, right: Tensor, mode: int) -> Tensor:
    """left_(mode) right_(mode)^T: the sum over all other modes, D_left x D_right."""
    a, b = _three_way(left, mode), _three_way(right, mode)
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


def orthonormal(matrix: Tensor) -> Tensor:
    """An orthonormal basis that contains the columns' span, of the same shape (D x K, K <= D).

    Householder QR: it stays finite and orthonormal on zero, rank-deficient, tiny and huge input,
    where Cholesky-based variants do not.
    """
    basis: Tensor = torch.linalg.qr(matrix)[0]
    return basis


def random_orthonormal(size: int, rank: int, seed: int, like: Tensor) -> Tensor:
    """A random orthonormal size x rank matrix, from a generator of its own.

    Drawn on the CPU so that every device starts from the same numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    gaussian = torch.randn(size, rank, generator=generator, dtype=torch.float64)
    return orthonormal(gaussian).to(like)


def _three_way(tensor: Tensor, mode: int) -> Tensor:
    shape = tensor.shape
    return tensor.reshape(prod(shape[:mode]), shape[mode], prod(shape[mode + 1 :]))
