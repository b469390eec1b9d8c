"""The frozen part image by image, and what a whole step needs with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from asi_core.costs.timeline.records import Use
from asi_core.methods import Vanilla
from asi_core.training.features import FeaturePool
from asi_core.training.formula_memory import formula_need, frozen_memory, step_macs
from asi_core.training.frozen_pass import FrozenPass
from asi_core.training.measuring import measure_need
from asi_core.training.setup import TrainingSetup
from asi_core.training.spec import RunSpec
from asi_core.units import GIB

POOL = FeaturePool(GIB)


def spec_of(**changes: Any) -> RunSpec:
    given = {"method": Vanilla(), "model": "mcunet_in1", "layers": 3, "batch_size": 4}
    return RunSpec.model_validate({**given, "pretrained": False, "image_size": 64, **changes})


@pytest.mark.parametrize("model", ["mcunet_in1", "resnet18", "torchvision/regnet_y_400mf"])
def test_its_values_are_those_of_the_part_to_rounding(model: str) -> None:
    setup = TrainingSetup(spec_of(model=model), POOL, torch.device("cpu"))
    images = setup.images(torch.arange(3))
    assert setup.prefix is not None
    with torch.no_grad():
        # Statistics of random networks are those of an identity: others make folding visible.
        for name, buffer in setup.prefix.named_buffers():
            if buffer.is_floating_point():
                drawn = torch.rand_like(buffer)
                buffer.copy_(drawn + 0.5 if name.endswith("var") else 0.1 * (drawn - 0.5))
        before = [value.clone() for value in setup.prefix(images)]
        found = FrozenPass(setup.prefix, setup.layout)(images)
        after = setup.prefix(images)
    for expected, value, again in zip(before, found, after, strict=True):
        assert value.shape == expected.shape
        scale = float(expected.abs().max())
        assert scale > 0
        assert float((value - expected).abs().max()) < 1e-5 * scale
        assert torch.equal(again, expected), "the part itself is unchanged"


def test_it_needs_the_input_and_output_of_one_convolution() -> None:
    found = frozen_memory(spec_of(image_size=128))
    assert found is not None
    # 64 x 64 positions: 8 channels to 32 and back.
    assert 4 * 64 * 64 * 40 <= found.peak.nbytes < 1.05 * 4 * 64 * 64 * 40


@pytest.mark.parametrize("model", ["mcunet_in1", "resnet18"])
def test_by_formula_it_has_the_weights_of_the_folded_part(model: str) -> None:
    """Folding adds a bias to each convolution, and leaves no normalisation."""
    spec = spec_of(model=model)
    setup, found = TrainingSetup(spec, POOL, torch.device("cpu")), frozen_memory(spec)
    assert setup.prefix is not None
    assert found is not None
    folded = FrozenPass(setup.prefix, setup.layout).part
    kept = [*folded.parameters(), *folded.buffers()]
    assert found.base[Use.FROZEN_WEIGHTS] == sum(t.numel() * t.element_size() for t in kept)


NEEDS: list[dict[str, Any]] = [
    {"method": {"kind": "asi", "ranks": [2, 4, 2, 2]}, "apply_early": True},
    {"micro_batch": 1, "layers": 2},
    # Weights that outweigh the rest, so that it matters when gradients are applied.
    {"micro_batch": 1, "apply_early": True, "layers": 3, "model": "resnet18"},
    {"micro_batch": 2, "apply_early": True, "layers": 3, "model": "resnet18"},
    {"model": "resnet18", "layers": 2, "momentum": 0.9},
    {"layers": 1, "batch_size": 1, "image_size": 128},
]


@pytest.mark.parametrize("changes", NEEDS, ids=str)
def test_the_formula_is_what_a_whole_step_needs(changes: dict[str, Any]) -> None:
    spec = spec_of(**changes)
    formula, measured = formula_need(spec), measure_need(spec, POOL)
    assert formula.frozen_weights == measured.frozen_weights
    assert formula.always == measured.always
    # What oneDNN needs within an operator depends on the processor.
    totals = [need.total(frozen_in_flash=True) for need in (formula, measured)]
    assert totals[0] == pytest.approx(totals[1], rel=0.05)


def test_micro_batches_leave_the_multiplies_of_a_step_as_they_are() -> None:
    whole, parts = step_macs(spec_of()), step_macs(spec_of(micro_batch=1))
    assert parts == pytest.approx(whole, rel=1e-3)
    # The frozen part is most of the network, and runs once an image.
    assert whole > 4 * 3 * 10**6
