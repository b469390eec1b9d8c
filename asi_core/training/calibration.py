"""Profiles of the layers that a run trains, on its first batches, and the plan of its budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean

import torch.nn.functional as F
from torch import Tensor, nn

from asi_core.compression.profile import SHARES, profile_layer, profile_weight
from asi_core.compression.timing import timed
from asi_core.errors import InvalidInput
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.watching import Watched, watched
from asi_core.methods import Vanilla
from asi_core.planning import LayerProfile, Plan, plan
from asi_core.records import Ranks
from asi_core.training.batches import batch_indices
from asi_core.training.features import FeaturePool, installed_pool
from asi_core.training.setup import TrainingSetup, default_device
from asi_core.training.spec import RunSpec

BATCHES = 2


@dataclass(frozen=True, slots=True)
class Met:
    """What trained layers met in a run's first batches: inputs, and gradients by their method.

    Attributes:
        passes: by batch, what each layer met.
    """

    setup: TrainingSetup
    passes: Sequence[Mapping[str, Watched]]


def exact_passes(spec: RunSpec, pool: FeaturePool | None = None, *, batches: int = BATCHES) -> Met:
    """The first full batches of a run with exact gradients, without any update.

    Args:
        pool: frozen features, shared with other runs.
        batches: how many.

    Raises:
        InvalidInput: if `batches` is less than 1.
        AsiError: if the spec cannot be set up.
    """
    if batches < 1:
        raise InvalidInput("calibration batches must be at least 1", batches, "take 2")
    return _passes(spec.model_copy(update={"method": Vanilla()}), pool, batches)


def calibrate(
    spec: RunSpec,
    pool: FeaturePool | None = None,
    *,
    batches: int = BATCHES,
    shares: Sequence[float] = SHARES,
    timing_rounds: int = 0,
    exact: Met | None = None,
) -> list[LayerProfile]:
    """Profile the layers that `spec` trains, with exact gradients, before the first step.

    For a method that plans which weights are trained, profiles say what each of them contributes
    (`compression.profile.profile_weight`).

    Args:
        pool: frozen features, shared with other runs.
        batches: number of calibration batches: the first full ones of the run. Ranks come from
            their mean spectra; errors are root mean squares over them.
        timing_rounds: how often each candidate is timed, for a plan with the least time; 0 for
            none.
        exact: `exact_passes` of the same run, if they were made before: they are not made again.

    Raises:
        InvalidInput: if `batches` is less than 1.
        AsiError: if the spec cannot be set up.
    """
    exact = exact or exact_passes(spec, pool, batches=batches)
    met = [(s, [seen[s.name] for seen in exact.passes]) for s in exact.setup.shapes]
    if spec.method.plans_weights:
        return [profile_weight(shape, seen, spec.method) for shape, seen in met]
    found = [profile_layer(shape, seen, shares, spec.method) for shape, seen in met]
    return timed(found, met, spec.method, timing_rounds)


def gradient_errors(
    spec: RunSpec,
    pool: FeaturePool | None = None,
    *,
    batches: int = BATCHES,
    exact: Met | None = None,
) -> dict[str, float]:
    """How far a method's weight gradients are from the exact ones, before the first step.

    Args:
        pool: frozen features, shared with other runs.
        batches: number of calibration batches, as in `calibrate`.
        exact: as in `calibrate`.

    Returns:
        the Frobenius norm of the error by trained layer, a root mean square over the batches.

    Raises:
        AsiError: if the spec cannot be set up.
    """
    exact = exact or exact_passes(spec, pool, batches=batches)
    found = _passes(spec, pool, batches)
    errors = {}
    for shape in found.setup.shapes:
        squares = [
            float((_gradient(a[shape.name]) - _gradient(b[shape.name])).norm()) ** 2
            for a, b in zip(exact.passes, found.passes, strict=True)
        ]
        errors[shape.name] = fmean(squares) ** 0.5
    return errors


def first_ranks(spec: RunSpec, pool: FeaturePool | None = None) -> dict[str, Ranks]:
    """The ranks with which a run keeps its first batch, by trained layer.

    Args:
        pool: frozen features, shared with other runs.

    Raises:
        AsiError: if the spec cannot be set up, or its budget is too small.
    """
    pool = pool or installed_pool()
    setup = TrainingSetup(spec, pool, default_device())
    plan_ranks_(setup, pool)
    order = batch_indices(len(setup.data.train), spec.pass_size, spec.seed)
    setup.logits(setup.values("train", next(order)))
    found = {}
    for name in setup.layer_names:
        layer = setup.tail.get_submodule(name)
        assert isinstance(layer, CompressedLayer)
        assert layer.ranks is not None
        found[name] = layer.ranks
    return found


def plan_ranks_(
    setup: TrainingSetup, pool: FeaturePool, known: Mapping[str, Ranks] | None = None
) -> Plan | None:
    """If the method has a budget, assign each layer the ranks of the best plan, in place.

    Args:
        known: ranks that were planned before, by layer name: a run that resumes keeps them.

    Returns:
        The plan; None without a budget, and where the ranks are known.

    Raises:
        InvalidInput: if the budget is too small; it states the minimum.
        NoClosedForm: if the method has no formula for the bytes kept at given ranks.
    """
    budget = setup.spec.method.memory_budget
    if budget is None or not setup.layer_names:
        return None
    made = None
    if known is None or set(known) != set(setup.layer_names):
        made = plan(calibrate(setup.spec, pool), budget)
        known = made.ranks
    assign_ranks_(setup.tail, known)
    return made


def assign_ranks_(tail: nn.Module, ranks: Mapping[str, Ranks]) -> None:
    """Give compressed layers of a tail the ranks that were planned for them, by name, in place."""
    for name, planned in ranks.items():
        layer = tail.get_submodule(name)
        assert isinstance(layer, CompressedLayer)
        layer.plan_(planned)


def _passes(spec: RunSpec, pool: FeaturePool | None, batches: int) -> Met:
    setup = TrainingSetup(spec, pool or installed_pool(), default_device())
    order = batch_indices(len(setup.data.train), spec.pass_size, spec.seed)
    # The smaller last batch of an epoch has other shapes and ranks than those planned for.
    full = (indices for indices in order if len(indices) == spec.pass_size)
    return Met(setup, [_one_pass(setup, indices) for indices in islice(full, batches)])


def _gradient(seen: Watched) -> Tensor:
    assert seen.weight_gradient is not None
    return seen.weight_gradient


def _one_pass(setup: TrainingSetup, indices: Tensor) -> dict[str, Watched]:
    values, labels = setup.read(indices)
    with watched(setup.tail, setup.layer_names) as notes:
        F.cross_entropy(setup.tail(*values), labels).backward()
    setup.tail.zero_grad()
    return notes
