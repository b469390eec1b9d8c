"""Steps in micro-batches, with gradients applied early."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from asi_core.errors import InvalidInput
from asi_core.methods import Vanilla
from asi_core.training.features import FeaturePool
from asi_core.training.loop import fine_tune
from asi_core.training.setup import TrainingSetup
from asi_core.training.spec import RunSpec
from asi_core.training.step import TrainingStep, micro_batches
from asi_core.units import GIB

POOL = FeaturePool(GIB)


def spec_of(**changes: Any) -> RunSpec:
    given = {"method": Vanilla(), "model": "mcunet_in1", "pretrained": False, "batch_size": 64}
    return RunSpec.model_validate({**given, "image_size": 64, "layers": 3, **changes})


def trained_weights(spec: RunSpec, steps: int = 5) -> list[Tensor]:
    setup = TrainingSetup(spec, POOL, torch.device("cpu"))
    step = TrainingStep(setup)
    for _, indices in zip(range(steps), setup.batches(0), strict=False):
        step(*setup.read(indices), rate=0.05)
    return [parameter.detach().clone() for parameter in step.parameters]


@pytest.mark.parametrize("size", [1, 8, 48, 64])
def test_micro_batches_give_the_weights_of_the_whole_batch(size: int) -> None:
    whole, parts = trained_weights(spec_of()), trained_weights(spec_of(micro_batch=size))
    for expected, found in zip(whole, parts, strict=True):
        assert float((expected - found).abs().max()) < 1e-5


def test_gradients_applied_early_are_the_same() -> None:
    """Where nothing is clipped, so that one norm or many make no difference."""
    together = trained_weights(spec_of(clip_norm=1e6, momentum=0.9))
    early = trained_weights(spec_of(clip_norm=1e6, momentum=0.9, apply_early=True))
    assert all(map(torch.equal, together, early))


def test_with_micro_batches_they_are_applied_in_the_last() -> None:
    early = spec_of(clip_norm=1e6, micro_batch=16, apply_early=True)
    found = trained_weights(early)
    expected = trained_weights(early.model_copy(update={"apply_early": False}))
    assert all(map(torch.equal, found, expected))


def test_micro_batches_are_views() -> None:
    x, labels, table = torch.randn(5, 3), torch.arange(5), torch.randn(7)
    found = list(micro_batches({"x": x, "table": table}, labels, 2))
    assert [len(some["x"]) for some, _ in found] == [2, 2, 1]
    assert torch.equal(torch.cat([wanted for _, wanted in found]), labels)
    assert all(
        some["x"].untyped_storage()._cdata == x.untyped_storage()._cdata for some, _ in found
    )
    assert all(some["table"] is table for some, _ in found)


def test_probes_compare_gradients_of_one_pass() -> None:
    """With several micro-batches, the exact gradient is that of the last one alone."""
    spec = spec_of(method={"kind": "asi", "ranks": 64}, micro_batch=16, steps=1)
    for extra in ({}, {"apply_early": True}):
        events = fine_tune(spec.model_copy(update=extra), features=POOL)
        (probe,) = [event for event in events if event.kind == "probe"]
        cosines = [layer.gradient_cosine for layer in probe.layers]
        assert all(cosine is not None and cosine > 0.999 for cosine in cosines)


def test_costs_by_formula_are_those_of_one_pass_and_of_all() -> None:
    def first_step(**changes: Any) -> Any:
        events = fine_tune(spec_of(steps=1, batch_size=32, **changes), features=POOL)
        return next(event for event in events if event.kind == "step")

    whole, parts = first_step(), first_step(micro_batch=8)
    assert parts.activation_bytes * 4 == whole.activation_bytes
    assert parts.macs == whole.macs
    assert parts.saved_bytes < whole.saved_bytes / 3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"micro_batch": 65}, "the micro-batch must be at most 64"),
        ({"optimizer": "adamw", "momentum": 0.9}, "momentum belongs to SGD"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises((InvalidInput, ValueError), match=sentence):
        spec_of(**changes)
