"""The memory of a step by formula against the measured one."""

from __future__ import annotations

from typing import Any

import pytest

from asi_core.costs.timeline.records import Use
from asi_core.errors import InvalidInput
from asi_core.planning import plan
from asi_core.training.calibration import calibrate
from asi_core.training.features import FeaturePool
from asi_core.training.formula_memory import (
    formula_memory,
    formula_need,
    frozen_memory,
    least_need,
)
from asi_core.training.measuring import measure_memory
from asi_core.training.spec import RunSpec
from asi_core.units import GIB

POOL = FeaturePool(GIB)
SETTINGS: list[dict[str, Any]] = [
    {"method": {"kind": "vanilla"}, "lean": False},
    {"method": {"kind": "asi", "ranks": 4}, "apply_early": True, "optimizer": "adamw"},
    {"method": {"kind": "hosvd", "ranks": 4}},
    {"method": {"kind": "gradient_filter"}},
    {"method": {"kind": "eight_bit"}, "momentum": 0.9},
    {"method": {"kind": "checkpointing"}},
    {"method": {"kind": "vanilla"}, "micro_batch": 3},
]


def spec_of(**changes: Any) -> RunSpec:
    given = {"model": "mcunet_in1", "layers": 4, "batch_size": 8, "image_size": 96}
    return RunSpec.model_validate({"pretrained": False, **given, **changes})


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: s["method"]["kind"])
def test_shapes_alone_give_the_measured_memory(settings: dict[str, Any]) -> None:
    spec = spec_of(**settings)
    formula, measured = formula_memory(spec), measure_memory(spec, POOL)
    assert (formula.source, measured.source) == ("formula", "measured")
    assert formula.kept_bytes == measured.kept_bytes
    # What oneDNN needs within an operator depends on the processor.
    assert formula.peak.nbytes == pytest.approx(measured.peak.nbytes, rel=0.1)
    lasting = (Use.TRAINED_WEIGHTS, Use.FROZEN_WEIGHTS, Use.OPTIMISER, Use.WARM_STARTS)
    for use in lasting:
        assert formula.base.get(use) == measured.base.get(use)


def test_frozen_weights_of_a_plan_need_no_inputs_and_no_gradients() -> None:
    spec = spec_of(method={"kind": "sparse", "weight_budget_bytes": 60_000}, optimizer="adamw")
    made = plan(calibrate(spec, POOL), 60_000)
    assert {any(ranks) for ranks in made.ranks.values()} == {True, False}
    formula, measured = formula_memory(spec, ranks=made.ranks), measure_memory(spec, POOL)
    assert formula.kept_bytes == measured.kept_bytes
    assert formula.peak.nbytes == pytest.approx(measured.peak.nbytes, rel=0.1)
    for use in (Use.TRAINED_WEIGHTS, Use.FROZEN_WEIGHTS, Use.OPTIMISER):
        assert formula.base.get(use) == measured.base.get(use)
    every = dict.fromkeys(made.ranks, (8, 1, 1, 1))
    assert formula_memory(spec, ranks=every).peak.nbytes > formula.peak.nbytes


@pytest.mark.parametrize(
    ("model", "early", "ratio"), [("mcunet_in1", False, 3.8), ("resnet18", True, 2.5)]
)
def test_a_compressed_step_peaks_far_below_a_plain_one(
    model: str, early: bool, ratio: float
) -> None:
    """What overwrites its input, packs masks in parts and frees gradients must go on doing so."""
    sizes = {"model": model, "batch_size": 16, "image_size": 224}
    plain = formula_memory(spec_of(method={"kind": "vanilla"}, lean=False, **sizes))
    method = {"kind": "asi", "ranks": (16, 32, 4, 4)}
    asi = formula_memory(spec_of(method=method, apply_early=early, **sizes))
    assert plain.peak.nbytes > ratio * asi.peak.nbytes


@pytest.mark.parametrize(
    ("model", "batch"), [("mobilenet_v2", 16), ("mcunet_in1", 16), ("resnet18", 16)]
)
def test_nobody_needs_more_than_plain_layers(model: str, batch: int) -> None:
    """ResNet-18's weights are larger than its maps: what operators copy of them counts."""
    sizes = {"model": model, "batch_size": batch, "image_size": 224}
    plain = formula_memory(spec_of(method={"kind": "vanilla"}, lean=False, **sizes))
    for kind in ("vanilla", "checkpointing", "gradient_filter", "eight_bit"):
        found = formula_memory(spec_of(method={"kind": kind}, **sizes))
        assert found.peak.nbytes < plain.peak.nbytes, kind


def test_large_weights_have_the_measured_memory() -> None:
    for kind in ("vanilla", "eight_bit"):
        spec = spec_of(model="resnet18", method={"kind": kind}, layers=2, batch_size=4)
        formula, measured = formula_memory(spec), measure_memory(spec, POOL)
        assert formula.peak.nbytes == pytest.approx(measured.peak.nbytes, rel=0.1), kind


@pytest.mark.parametrize("layers", [1, 4, "all"])
def test_the_least_that_is_needed_is_no_more_than_what_is(layers: int | str) -> None:
    for settings in (SETTINGS[1], {**SETTINGS[1], "apply_early": False}, SETTINGS[-1]):
        spec = spec_of(**settings, layers=layers)
        needed = formula_need(spec, classes=10)
        for in_flash in (True, False):
            least = least_need(spec, classes=10, frozen_in_flash=in_flash)
            assert 0 < least <= needed.total(frozen_in_flash=in_flash)


def test_the_frozen_part_needs_the_input_and_output_of_one_convolution() -> None:
    found = frozen_memory(spec_of(method={"kind": "vanilla"}, image_size=128))
    assert found is not None
    # Two maps of 64 x 64 positions: 16 channels and 32, or 32 and 32.
    assert 200 * 1024 < found.peak.nbytes < 2 * 1024**2
    assert found.base[Use.BATCH] == 4 * 3 * 128 * 128


def test_ranks_that_depend_on_images_must_be_given() -> None:
    spec = spec_of(method={"kind": "asi", "explained_variance": 0.8})
    with pytest.raises(InvalidInput, match="give ranks, or measure the step"):
        formula_memory(spec)
    ranks = dict.fromkeys(_names(spec), (2, 4, 2, 2))
    assert formula_memory(spec, ranks=ranks).peak.nbytes > 0


def _names(spec: RunSpec) -> list[str]:
    from asi_core.zoo.shapes import trained_layer_shapes

    shapes = trained_layer_shapes(spec.model, spec.layers, spec.batch_size, spec.image_size)
    return [shape.name for shape in shapes]
