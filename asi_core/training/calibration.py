"""Profiles of trained layers on calibration batches: bytes and error for each choice of ranks.

One forward and backward pass per batch gives every layer's input and output gradient. One
decomposition per mode then serves all explained variances, because a truncated core is a corner of
the full one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from asi_core import linalg
from asi_core.errors import InvalidInput
from asi_core.layers.compressed import CompressedLayer
from asi_core.linalg.tucker import Tucker
from asi_core.methods import Method, Vanilla
from asi_core.methods.costs import tucker_bytes
from asi_core.planning import Candidate, LayerProfile, Plan, plan
from asi_core.records import LayerShape, Ranks
from asi_core.training.batches import batch_indices
from asi_core.training.features import FeaturePool, installed_pool
from asi_core.training.setup import TrainingSetup, default_device
from asi_core.training.spec import RunSpec
from asi_core.training.watching import Watched, watched

# Explained variances of the candidates, as in the paper and finer; 1 keeps the input.
SHARES = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0)
BATCHES = 2
_DIGITS = 6


def calibrate(
    spec: RunSpec,
    pool: FeaturePool | None = None,
    *,
    batches: int = BATCHES,
    shares: Sequence[float] = SHARES,
) -> list[LayerProfile]:
    """Profile the layers that `spec` trains, with exact gradients, before the first step.

    Args:
        pool: frozen features, shared with other runs.
        batches: number of calibration batches: the first full ones of the run. Ranks come from
            their mean spectra; errors are root mean squares over them.

    Raises:
        InvalidInput: if `batches` is less than 1.
        AsiError: if the spec cannot be set up.
    """
    if batches < 1:
        raise InvalidInput("calibration batches must be at least 1", batches, "take 2")
    plain = spec.model_copy(update={"method": Vanilla()})
    pool = pool or installed_pool()
    setup = TrainingSetup(plain, pool, default_device())
    order = batch_indices(len(setup.data.train), spec.batch_size, spec.seed)
    # The smaller last batch of an epoch has other shapes and ranks than those planned for.
    full = (indices for indices in order if len(indices) == spec.batch_size)
    passes = [_one_pass(setup, indices) for indices in islice(full, batches)]
    return [
        _profile(shape, [seen[shape.name] for seen in passes], shares, spec.method)
        for shape in setup.shapes
    ]


def plan_ranks_(setup: TrainingSetup, pool: FeaturePool) -> Plan | None:
    """If the method has a budget, assign each layer the ranks of the best plan, in place.

    Raises:
        InvalidInput: if the budget is too small; it states the minimum.
        NoClosedForm: if the method has no formula for the bytes kept at given ranks.
    """
    budget = setup.spec.method.memory_budget
    if budget is None or not setup.layer_names:
        return None
    made = plan(calibrate(setup.spec, pool), budget)
    for name, ranks in made.ranks.items():
        layer = setup.tail.get_submodule(name)
        assert isinstance(layer, CompressedLayer)
        layer.memory.ranks = ranks
    return made


@dataclass(frozen=True)
class _Decomposed:
    """A layer's input in full orthonormal bases, and the exact weight gradient."""

    grad_output: Tensor
    core: Tensor
    bases: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    gradient: Tensor

    def error_at(self, ranks: Ranks, shape: LayerShape) -> Tensor:
        """Squared Frobenius norm of the weight gradient's error at `ranks`."""
        corner = self.core[tuple(slice(rank) for rank in ranks)]
        factors = tuple(basis[:, :rank] for basis, rank in zip(self.bases, ranks, strict=True))
        found = linalg.gradients.tucker_weight_gradient(
            Tucker(corner, factors), self.grad_output, shape.weight_shape, shape.geometry
        )
        return (found - self.gradient).square().sum()


def _one_pass(setup: TrainingSetup, indices: Tensor) -> dict[str, Watched]:
    values, labels = setup.batch(indices)
    with watched(setup.tail, setup.layer_names) as notes:
        F.cross_entropy(setup.tail(*values), labels).backward()
    setup.tail.zero_grad()
    return notes


def _profile(
    shape: LayerShape, passes: Sequence[Watched], shares: Sequence[float], method: Method
) -> LayerProfile:
    decomposed = [_decompose(seen, shape) for seen in passes]
    spectra = [
        _mean_spectrum([d.values[mode] for d in decomposed])
        for mode in range(len(shape.input_shape))
    ]
    candidates = [_candidate(shape, decomposed, spectra, share, method) for share in shares]
    return LayerProfile(
        name=shape.name,
        input_shape=shape.input_shape,
        singular_values=tuple(_rounded(values) for values in decomposed[0].values),
        candidates=tuple(candidates),
    )


def _decompose(seen: Watched, shape: LayerShape) -> _Decomposed:
    assert seen.x is not None
    assert seen.grad_output is not None
    x = seen.x
    bases, values = [], []
    for mode, size in enumerate(x.shape):
        full = min(size, x.numel() // size)
        bases.append(linalg.spectra.leading_vectors(x, mode, rank=full))
        values.append(linalg.spectra.singular_values(x, mode)[:full])
    core = x
    for mode, basis in enumerate(bases):
        core = linalg.unfolding.mode_product(core, basis.T, mode)
    gradient = linalg.gradients.weight_gradient(
        x, seen.grad_output, shape.weight_shape, shape.geometry
    )
    return _Decomposed(seen.grad_output, core, tuple(bases), tuple(values), gradient)


def _candidate(
    shape: LayerShape,
    decomposed: Sequence[_Decomposed],
    spectra: Sequence[Tensor],
    share: float,
    method: Method,
) -> Candidate:
    if share >= 1:
        sizes = shape.input_shape
        return Candidate(1.0, sizes, _kept_bytes(method, shape, sizes), 0.0)
    ranks = tuple(linalg.spectra.rank_for_energy(values, share) for values in spectra)
    squared = torch.stack([d.error_at(ranks, shape) for d in decomposed]).mean()
    kept = _kept_bytes(method, shape, ranks)
    return Candidate(share, ranks, kept, float(squared.sqrt()))


def _kept_bytes(method: Method, shape: LayerShape, ranks: Ranks) -> int:
    """Bytes that the method keeps at these ranks; for one without ranks, those of a Tucker form."""
    if method.has_ranks:
        return method.saved_bytes(shape, ranks, "exact")
    return tucker_bytes(shape.input_shape, ranks, "exact")


def _mean_spectrum(values: Sequence[Tensor]) -> Tensor:
    """Root of the mean energy shares over the batches; shorter spectra are padded with zeros."""
    longest = max(len(v) for v in values)
    shares = [v.square() / v.square().sum().clamp_min(1e-30) for v in values]
    return torch.stack([F.pad(s, (0, longest - len(s))) for s in shares]).mean(0).sqrt()


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values.tolist())
