"""Low-rank approximations of one picture of each class of the bundled images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from asi_core.datasets import load_dataset
from asi_core.training.spec import RunSpec

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Approximation:
    """The best approximation of a matrix at some rank.

    Attributes:
        energy: share of the squared norm that it holds, 0 to 1.
        error: norm of the difference, as a share of the matrix's norm.
        numbers: how many numbers its left and right vectors have.
    """

    matrix: Matrix
    energy: float
    error: float
    numbers: int


@cache
def pictures() -> dict[str, Matrix]:
    """Class name -> its first test image, in grey levels from 0 to 255."""
    data = load_dataset(RunSpec.model_fields["dataset"].default)
    labels = data.test.labels
    firsts = np.array([int(np.argmax(labels == number)) for number in range(len(data.classes))])
    found = data.test.read(firsts, size=0).astype(np.float64)
    return dict(zip(data.classes, found, strict=True))


def approximate(matrix: Matrix, rank: int) -> Approximation:
    """The closest matrix of a rank (Eckart & Young 1936), by the SVD."""
    left, values, right = np.linalg.svd(matrix)
    close = (left[:, :rank] * values[:rank]) @ right[:rank]
    energy = float(np.square(values[:rank]).sum() / np.square(values).sum())
    error = float(np.linalg.norm(matrix - close) / np.linalg.norm(matrix))
    # The singular values are multiplied into one of the sides.
    return Approximation(close, energy, error, numbers=rank * sum(matrix.shape))


def singular_values(matrix: Matrix) -> tuple[float, ...]:
    """The singular values, in descending order."""
    return tuple(np.linalg.svd(matrix, compute_uv=False).tolist())
