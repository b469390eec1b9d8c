from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asi_core.compression import timing
from asi_core.compression.profile import _mean_spectrum
from asi_core.datasets import ArraySplit, load_dataset
from asi_core.errors import InvalidInput
from asi_core.layers.watching import Watched
from asi_core.linalg.tucker import hosvd, reconstruct
from asi_core.methods import ASI, Vanilla
from asi_core.planning import LayerProfile, full_bytes, plan
from asi_core.training import calibration
from asi_core.training import setup as training_setup
from asi_core.training.batches import batch_indices
from asi_core.training.calibration import SHARES, calibrate
from asi_core.training.events import StepEvent
from asi_core.training.features import FeaturePool
from asi_core.training.loop import fine_tune
from asi_core.training.setup import TrainingSetup
from asi_core.training.spec import RunSpec
from asi_core.units import GIB

POOL = FeaturePool(GIB)
SPEC = RunSpec(method=Vanilla(), layers=3, batch_size=12, image_size=64, steps=2)


@pytest.fixture(scope="module")
def profiles() -> list[LayerProfile]:
    return calibrate(SPEC, POOL, batches=1)


def test_more_variance_means_more_bytes_and_less_error(profiles: list[LayerProfile]) -> None:
    assert [p.name for p in profiles] == [
        "blocks.15.depthwise_conv",
        "blocks.15.project_conv",
        "conv_head",
    ]
    for profile in profiles:
        assert [c.explained_variance for c in profile.candidates] == list(SHARES)
        errors = [c.gradient_error for c in profile.candidates]
        assert errors[0] > errors[-2] > errors[-1] == 0
        below_full = [c.activation_bytes for c in profile.candidates[:-1]]
        assert below_full == sorted(below_full)
        for values, size in zip(profile.singular_values, profile.input_shape, strict=True):
            assert len(values) <= size
            assert list(values) == sorted(values, reverse=True)


def plain_gradient(x: Tensor | None, name: str) -> tuple[Tensor, Tensor]:
    """A layer's input, and its weight gradient by autograd with the input replaced by `x`."""
    setup = TrainingSetup(SPEC, POOL, torch.device("cpu"))
    layer = setup.tail.get_submodule(name)
    seen: list[Tensor] = []

    def replace(module: object, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        seen.append(inputs[0].detach())
        # The output stays exact, as in every method here; only the gradient uses another input.
        kept = layer._conv_forward(inputs[0] if x is None else x, layer.weight, layer.bias)
        return output.detach() + kept - kept.detach()

    handle = layer.register_forward_hook(replace)
    values, labels = setup.read(next(batch_indices(5000, 12, 0)))
    F.cross_entropy(setup.tail(*values), labels).backward()
    handle.remove()
    gradient = layer.weight.grad
    assert gradient is not None
    return seen[0], gradient


@pytest.mark.parametrize("name", ["blocks.15.depthwise_conv", "blocks.15.project_conv"])
def test_the_error_is_that_of_training_on_the_rebuilt_input(
    profiles: list[LayerProfile], name: str
) -> None:
    x, exact = plain_gradient(None, name)
    (profile,) = [p for p in profiles if p.name == name]
    candidate = profile.candidates[SHARES.index(0.8)]
    assert candidate.ranks == hosvd(x, explained_variance=0.8).ranks
    _, approximate = plain_gradient(reconstruct(hosvd(x, ranks=candidate.ranks)), name)
    expected = float((approximate - exact).norm())
    assert candidate.gradient_error == pytest.approx(expected, rel=1e-3)


def test_only_full_batches_calibrate(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one image more than a batch, every second batch of the run has a single image."""
    data = load_dataset("fashion_mnist_small")
    few = ArraySplit(data.train.images[:13], data.train.labels[:13])
    cut = replace(data, train=few, fingerprint="13")
    monkeypatch.setattr(training_setup, "load_dataset", lambda name, **more: cut)
    sizes: list[int] = []
    one_pass = calibration._one_pass

    def counted(setup: TrainingSetup, indices: Tensor) -> dict[str, Watched]:
        sizes.append(len(indices))
        return one_pass(setup, indices)

    monkeypatch.setattr(calibration, "_one_pass", counted)
    found = calibrate(SPEC, POOL, batches=3)
    assert sizes == [12, 12, 12]
    for profile in found:
        nearly_all = profile.candidates[SHARES.index(0.99)]
        assert nearly_all.ranks[0] > 1


def test_there_is_no_calibration_without_a_batch() -> None:
    with pytest.raises(InvalidInput, match="calibration batches must be at least 1, got 0"):
        calibrate(SPEC, POOL, batches=0)


def test_shorter_spectra_are_padded_with_zeros() -> None:
    mean = _mean_spectrum([torch.tensor([2.0]), torch.tensor([1.0, 1.0])])
    assert mean.square().tolist() == pytest.approx([0.75, 0.25])


@pytest.mark.parametrize("bits", [32, 16, 8])
def test_a_budget_is_kept_in_every_step(profiles: list[LayerProfile], bits: Any) -> None:
    budget = 40_000
    method = ASI(budget_bytes=budget, bits=bits)
    spec = SPEC.model_copy(update={"method": method, "steps": 3})
    steps = [e for e in fine_tune(spec, features=POOL) if isinstance(e, StepEvent)]
    planned = plan(calibrate(spec, POOL), budget)
    assert [s.activation_bytes for s in steps] == [planned.total_bytes] * 3
    assert planned.total_bytes <= budget
    # Freed bytes are spent.
    single = plan(calibrate(SPEC, POOL), budget)
    assert (planned.gradient_error < single.gradient_error) == (bits < 32)
    least = plan(profiles, 10**9)
    assert least.gradient_error == 0


class Doubled(ASI):
    """Claims to keep twice as many bytes."""

    def saved_bytes(self, *arguments: Any) -> int:
        return 2 * super().saved_bytes(*arguments)


def test_a_method_with_ranks_counts_its_own_bytes(profiles: list[LayerProfile]) -> None:
    doubled = calibrate(SPEC.model_copy(update={"method": Doubled(ranks=1)}), POOL, batches=1)
    for once, twice in zip(profiles, doubled, strict=True):
        kept = [candidate.activation_bytes for candidate in once.candidates]
        assert [c.activation_bytes for c in twice.candidates] == [2 * size for size in kept]


def test_too_small_a_budget_fails_with_the_minimum() -> None:
    spec = SPEC.model_copy(update={"method": ASI(budget_bytes=10)})
    with pytest.raises(InvalidInput, match="the budget must be at least"):
        next(iter(fine_tune(spec, features=POOL)))


@pytest.mark.parametrize("warm_up", [1, 4])
def test_rounds_in_which_factors_settle_are_not_counted(
    warm_up: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, now = 0, timing._now

    def looked(seen: Watched) -> float:
        nonlocal looks
        looks += 1
        return now(seen)

    monkeypatch.setattr(timing, "_now", looked)
    monkeypatch.setattr(ASI, "warm_up_steps", warm_up)
    ranked = SPEC.model_copy(update={"method": ASI(ranks=2)})
    timed = calibrate(ranked, POOL, batches=1, shares=(0.8, 1.0), timing_rounds=2)
    # The clock is read before each round, and after those that count.
    assert looks == (warm_up + 2 * 2) * sum(len(profile.candidates) for profile in timed)


def test_candidates_are_timed_for_a_plan_with_the_least_time() -> None:
    timed = calibrate(SPEC, POOL, batches=1, shares=(0.8, 1.0), timing_rounds=1)
    for profile in timed:
        assert all(c.seconds is not None and c.seconds > 0 for c in profile.candidates)
    made = plan(timed, full_bytes(timed), objective="time")
    assert made.time_unit == "seconds"
    ranked = SPEC.model_copy(update={"method": ASI(ranks=2)})
    untimed = calibrate(ranked, POOL, batches=1, shares=(0.8, 1.0))
    assert plan(untimed, full_bytes(untimed), objective="time").time_unit == "macs"
    with pytest.raises(InvalidInput, match="timing rounds"):
        calibrate(SPEC, POOL, batches=1, timing_rounds=-1)
