from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core.costs.accounting import step_cost
from asi_core.costs.clocks import LayerClocks
from asi_core.costs.measure import Measurement, measure_tail
from asi_core.costs.measurement import SavedBytes
from asi_core.layers.selection import Layers
from asi_core.layers.shapes import observed_shapes
from asi_core.layers.surgery import compress_
from asi_core.methods import (
    ASI,
    HOSVD,
    METHODS,
    Checkpointing,
    GradientFilter,
    Method,
    Vanilla,
)
from asi_core.methods.blocks import related
from asi_core.records import ConvGeometry, LinearGeometry
from asi_core.training.features import FeaturePool
from asi_core.training.measuring import measure
from asi_core.training.prefix import split_frozen
from asi_core.training.spec import RunSpec
from asi_core.zoo.build import build_model
from asi_core.zoo.shapes import trained_layer_shapes
from tests.costs.networks import Residual, batch
from tests.plugins import NonZero

# Padding by PyTorch itself also keeps its input.
GEOMETRIES: list[dict[str, Any]] = [
    {"kernel_size": 1},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 3, "padding": "same", "dilation": 2},
    {"kernel_size": 3, "padding": 1, "groups": 6},
    {"kernel_size": 3, "padding": (0, 1), "groups": 2, "stride": (1, 2)},
]
# Methods that work layer by layer, and those of them for convolutions with any kernel.
LAYERWISE = [
    example
    for method in METHODS.values()
    if not method.repeats_blocks
    for example in method.examples()
    if example.has_closed_form
]
KERNEL = ConvGeometry((1, 1), (1, 1, 1, 1), (1, 1), 1)
EXAMPLES = [method for method in LAYERWISE if method.why_unsupported(KERNEL) is None]
FOR_LINEAR = [m for m in LAYERWISE if m.why_unsupported(LinearGeometry()) is None]


def measured(
    model: nn.Module,
    make_inputs: Callable[[], tuple[Tensor, ...]],
    method: Method,
    names: list[str],
) -> Measurement:
    """Measure with the layers `names` compressed, and shapes from a pass of the model."""
    compress_(model, method, layers=names, lean=False)
    with torch.no_grad(), observed_shapes(model, names) as shapes:
        model(*make_inputs())
    # The pass without gradients does not show them.
    seen = [replace(s, has_input_gradient=s.name != names[0]) for s in shapes.all(names)]
    own = related(seen)
    return measure_tail(model, make_inputs, Tensor.sum, head=None, method=method, shapes=own)


def assert_formula_is_measured(found: Measurement) -> None:
    for layer in found.step.layers:
        assert layer.saved_bytes == found.layer_formula_bytes(layer.name), layer.name


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("method", EXAMPLES, ids=str)
def test_trained_convolutions_keep_what_the_formula_says(
    method: Method, geometry: dict[str, Any]
) -> None:
    """Grouped, strided, dilated; between activations that keep tensors too."""
    model = nn.Sequential(
        nn.Conv2d(3, 6, 1),
        nn.BatchNorm2d(6),
        nn.ReLU6(inplace=True),
        nn.Conv2d(6, 12, **geometry),
        nn.ReLU(inplace=True),
    ).eval()
    found = measured(model, batch(4, 3, 9, 9), method, ["0", "3"])
    assert_formula_is_measured(found)
    assert found.step.category_bytes["trained layer inputs"] == found.formula_bytes


@pytest.mark.parametrize("method", EXAMPLES, ids=str)
def test_residual_blocks_keep_what_the_formula_says(method: Method) -> None:
    found = measured(Residual().eval(), batch(4, 4, 9, 9), method, ["conv1", "conv2"])
    assert_formula_is_measured(found)


@pytest.mark.parametrize("method", FOR_LINEAR, ids=str)
def test_trained_linear_layers_keep_what_the_formula_says(method: Method) -> None:
    """A token model: batch x tokens x features, with attention and normalisation around."""
    model = nn.Sequential(
        nn.Linear(8, 12), nn.GELU(), nn.LayerNorm(12).requires_grad_(False), nn.Linear(12, 8)
    )
    found = measured(model, batch(4, 5, 8), method, ["0", "3"])
    assert_formula_is_measured(found)


def test_ranks_found_in_the_data_are_those_of_the_formula() -> None:
    model = nn.Sequential(nn.Conv2d(6, 4, 3), nn.ReLU())
    found = measured(model, batch(8, 6, 7, 7), HOSVD(explained_variance=0.6), ["0"])
    assert found.step.layers[0].ranks == found.cost.layers[0].ranks == model[0].ranks
    assert_formula_is_measured(found)


class Branches(nn.Module):
    """Three layers read one tensor; one of them is called again on another and on the same."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.padded = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.second(x) + self.second(y) + self.second(x) + self.padded(x)


WHOLE = [
    Vanilla(),
    ASI(ranks=100),
    ASI(ranks=100, bits=16),
    ASI(ranks=100, bits=8),
    HOSVD(ranks=100),
    HOSVD(explained_variance=1.0),
    ASI(ranks=2, update="every_step"),
    GradientFilter(patch=1),
]


@pytest.mark.parametrize("method", WHOLE, ids=lambda method: f"{method.settings_label} {method}")
def test_a_tensor_that_several_layers_keep_as_it_is_counts_once(method: Method) -> None:
    names = ["first", "second", "padded"]
    found = measured(Branches(), batch(4, 4, 6, 6), method, names)
    assert [cost.shape.name for cost in found.cost.layers] == [
        "first",
        *["second"] * 3,
        "padded",
    ]
    assert found.step.category_bytes["trained layer inputs"] == found.formula_bytes
    assert_formula_is_measured(found)


def test_factors_that_stay_are_kept_once_for_all_uses_of_a_layer() -> None:
    """The formula is of a step that iterates them, which makes new ones at each use."""
    names = ["first", "second", "padded"]
    # Otherwise another input may no longer fit.
    torch.manual_seed(0)
    found = measured(Branches(), batch(4, 4, 6, 6), ASI(ranks=2), names)
    uses = [layer for layer in found.cost.layers if layer.shape.name == "second"]
    shape = uses[0].shape.input_shape
    fixed = sum(4 * size * 2 for size in shape[1:] if size > 2)
    assert found.step.category_bytes["trained layer inputs"] == (
        found.formula_bytes - (len(uses) - 1) * fixed
    )


@pytest.mark.parametrize("warm_up", [1, 6])
def test_a_step_is_timed_when_warm_starts_have_settled(
    warm_up: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, timed = 0, []
    compress, clock = ASI.compress, LayerClocks.__enter__

    def counted(*args: Any) -> Any:
        nonlocal passes
        passes += 1
        return compress(*args)

    def noted(clocks: LayerClocks) -> LayerClocks:
        timed.append(passes)
        return clock(clocks)

    monkeypatch.setattr(ASI, "warm_up_steps", warm_up)
    monkeypatch.setattr(ASI, "compress", counted)
    monkeypatch.setattr(LayerClocks, "__enter__", noted)
    measured(nn.Sequential(nn.Conv2d(4, 4, 3)), batch(4, 4, 6, 6), ASI(ranks=2), ["0"])
    assert len(timed) == 1
    assert timed[0] >= max(2, warm_up), "passes before the one that is timed"


def test_the_paper_counts_an_input_for_each_layer_that_reads_it() -> None:
    shapes = trained_layer_shapes("resnet18", 5, 4, 64)
    paper, exact = (step_cost(shapes, Vanilla(), c) for c in ("paper", "exact"))
    assert exact.activation_bytes == 163_840
    assert paper.activation_bytes == 229_376
    assert paper.repeated_bytes == 229_376 - 163_840
    assert exact.repeated_bytes == 0
    assert [layer.kept_by for layer in exact.layers] == [None, None, "layer4.0.conv1", None, None]


@pytest.mark.parametrize(
    ("model", "layers", "expected"),
    [("resnet18", 5, 163_840), ("resnet18", "all", 2_392_064), ("resnet34", "all", 4_030_464)],
)
@pytest.mark.parametrize("method", [Vanilla(), Checkpointing()], ids=lambda m: m.kind)
def test_shortcuts_of_resnets_keep_what_the_formula_says(
    model: str, layers: Layers, expected: int, method: Method
) -> None:
    spec = RunSpec(
        model=model, method=method, layers=layers, batch_size=4, image_size=64, pretrained=False
    )
    found = measure(spec, FeaturePool(2**29)).measurement
    assert found.step.category_bytes["trained layer inputs"] == found.formula_bytes
    if method == Vanilla():
        assert found.formula_bytes == expected


TAILS = [
    Vanilla(),
    ASI(ranks=(4, 8, 2, 2)),
    ASI(explained_variance=0.8),
    HOSVD(explained_variance=0.8),
    GradientFilter(patch=2),
]


def efficientnet_tail(method: Method) -> tuple[nn.Module, list[str], tuple[Tensor, ...]]:
    """The trained part of EfficientNet-Lite0 with 4 layers, and its input for 8 images."""
    model = build_model("efficientnet_lite0", 10, seed=0)
    names = compress_(model, method, layers=4, lean=False)
    model.requires_grad_(False)
    for name in [*names, "fc"]:
        model.get_submodule(name).requires_grad_(True)
    parts = split_frozen(model)
    (images,) = batch(8, 3, 64, 64)()
    with torch.no_grad():
        return parts.tail, names, parts.prefix(images)


@pytest.mark.parametrize("method", TAILS, ids=lambda method: method.settings_label)
def test_the_tail_of_efficientnet_is_counted_twice_and_agrees(method: Method) -> None:
    tail, names, values = efficientnet_tail(method)

    def loss_of(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, torch.arange(8))

    def make() -> tuple[Tensor, ...]:
        return tuple(value.clone() for value in values)

    shapes = trained_layer_shapes("efficientnet_lite0", 4, 8, 64)
    found = measure_tail(tail, make, loss_of, head="fc", method=method, shapes=shapes)
    assert [layer.name for layer in found.step.layers] == names
    assert_formula_is_measured(found)
    kept = found.step.category_bytes
    assert kept["trained layer inputs"] == found.formula_bytes
    # A clone of every ReLU6's and every normalisation's input, with any method.
    assert kept["activation functions"] == 4 * 8 * (2 * 1152 + 1280) * 2 * 2
    assert kept["normalisation"] == 4 * 8 * (2 * 1152 + 320 + 1280) * 2 * 2
    assert kept["head and loss"] == 4 * 8 * 1280 + 4 * 8 * 10 + 8 * 8 + 4
    assert kept["other layer inputs"] == kept["pooling"] == kept["other"] == 0
    with SavedBytes(tail) as meter:
        loss_of(tail(*make()))
    assert meter.total == found.step.saved_bytes


def test_a_measurement_is_reported_in_json() -> None:
    model = nn.Sequential(nn.Conv2d(6, 4, 3), nn.ReLU())
    found = measured(model, batch(8, 6, 7, 7), ASI(ranks=2), ["0"])
    message = json.loads(json.dumps(found.as_dict()))
    assert set(message) == {"formula_bytes", "saved_bytes", "meters_agree", "layers", "peak_bytes"}
    assert message["saved_bytes"]["total"] == sum(message["saved_bytes"]["by_category"].values())
    assert message["meters_agree"] is True
    assert message["peak_bytes"] is None
    (layer,) = message["layers"]
    assert layer["name"] == "0"
    assert layer["ranks"] == [2, 2, 2, 2]
    assert layer["formula_bytes"] == layer["measured_bytes"] == message["formula_bytes"]
    assert layer["forward_seconds"] > 0
    assert layer["backward_seconds"] > 0


def test_without_a_closed_form_a_step_is_measured_all_the_same() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Conv2d(6, 4, 3))
    found = measured(model, batch(8, 6, 7, 7), NonZero(), ["1"])
    assert found.formula_bytes is None
    message = json.loads(json.dumps(found.as_dict()))
    assert message["formula_bytes"] is message["layers"][0]["formula_bytes"] is None
    elements = 8 * 6 * 7 * 7
    # A byte of the mask for each element, and four for the positive ones, which are half.
    kept = message["layers"][0]["measured_bytes"]
    assert elements < kept < elements * 4
    assert kept == message["saved_bytes"]["by_category"]["trained layer inputs"]
