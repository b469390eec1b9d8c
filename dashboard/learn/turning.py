"""A subspace that turns a little at every step, tracked by one subspace iteration per step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

SIZE, COLUMNS, RANK, STEPS = 48, 160, 4, 40
# Standard deviation of each entry's noise, and the strength of the weakest of the signal's
# directions, whose energies fall from 1 to 0.6 squared.
_NOISE, _WEAKEST = 1.0, 0.6


@dataclass(frozen=True, slots=True)
class Following:
    """Share of each step's energy, 0 to 1, that a basis of `RANK` directions holds: the leading
    singular vectors, one iteration from the previous step's basis, and one from random ones."""

    best: tuple[float, ...]
    warm: tuple[float, ...]
    cold: tuple[float, ...]

    @property
    def warm_share(self) -> float:
        """Ratio of `warm` to `best`, mean over all steps but the first."""
        return _mean_ratio(self.warm, self.best)

    @property
    def cold_share(self) -> float:
        """Ratio of `cold` to `best`, over the same steps."""
        return _mean_ratio(self.cold, self.best)


def follow(angle_degrees: float, seed: int = 0) -> Following:
    """Track a subspace all of whose principal angles from step to step are `angle_degrees`.

    Every step draws a new matrix, `SIZE` x `COLUMNS`, of the turned signal plus noise, like the new
    images of every training step.
    """
    random = np.random.default_rng(seed)
    bases = turning_bases(angle_degrees, random)
    warm = np.empty((0, 0))
    shares = []
    for basis in bases:
        step = _matrix(basis, random)
        start = _orthonormal(random.standard_normal((SIZE, RANK)))
        cold = iterate(step, start)
        warm = iterate(step, warm if warm.size else start)
        shares.append((best_energy(step), captured(step, warm), captured(step, cold)))
    best, warm_shares, cold_shares = zip(*shares, strict=True)
    return Following(best, warm_shares, cold_shares)


def turning_bases(angle_degrees: float, random: np.random.Generator) -> list[Matrix]:
    """`STEPS` orthonormal bases, `SIZE` x `RANK`, each turned by the angle from the previous."""
    both = _orthonormal(random.standard_normal((SIZE, 2 * RANK)))
    angles = np.radians(angle_degrees) * np.arange(STEPS)
    return [both[:, :RANK] * np.cos(a) + both[:, RANK:] * np.sin(a) for a in angles]


def iterate(matrix: Matrix, basis: Matrix) -> Matrix:
    """One subspace iteration: orth(A (A^T U))."""
    return _orthonormal(matrix @ (matrix.T @ basis))


def captured(matrix: Matrix, basis: Matrix) -> float:
    """Share of the matrix's energy in the span of an orthonormal basis."""
    return float(np.square(basis.T @ matrix).sum() / np.square(matrix).sum())


def best_energy(matrix: Matrix) -> float:
    """The largest share that `RANK` directions can hold."""
    energy = np.square(np.linalg.svd(matrix, compute_uv=False))
    return float(energy[:RANK].sum() / energy.sum())


def _matrix(basis: Matrix, random: np.random.Generator) -> Matrix:
    strengths = np.linspace(1, _WEAKEST, RANK) * np.sqrt(SIZE / RANK)
    signal = (basis * strengths) @ random.standard_normal((RANK, COLUMNS))
    return np.asarray(signal + _NOISE * random.standard_normal((SIZE, COLUMNS)))


def _orthonormal(matrix: Matrix) -> Matrix:
    return np.asarray(np.linalg.qr(matrix)[0])


def _mean_ratio(part: tuple[float, ...], whole: tuple[float, ...]) -> float:
    return float(np.mean(np.divide(part[1:], whole[1:])))
