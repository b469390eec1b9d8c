from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch
from torch import nn

from asi_core.datasets import ArraySplit, load_dataset
from asi_core.errors import AsiError
from asi_core.layers.freezing import train_only_
from asi_core.training import setup
from asi_core.training.events import (
    EVENT_ADAPTER,
    EvaluationEvent,
    Event,
    LayerProbe,
    PreparedEvent,
    ProbeEvent,
    StepEvent,
    TimelineEvent,
)
from asi_core.training.features import FeaturePool
from asi_core.training.loop import fine_tune
from asi_core.training.measuring import measure_memory
from asi_core.training.schedules import learning_rate
from asi_core.training.spec import RunSpec
from asi_core.training.summary import summarise
from asi_core.zoo.shapes import layer_facts
from tests.datasets.few import few_images

POOL = FeaturePool(2**29)
METHODS: list[dict[str, Any]] = [
    {"kind": "vanilla"},
    {"kind": "asi", "explained_variance": 0.8},
    {"kind": "hosvd", "explained_variance": 0.8},
    {"kind": "gradient_filter", "patch": 2},
]


def spec(method: dict[str, Any] | None = None, **changes: Any) -> RunSpec:
    small = {"steps": 4, "batch_size": 16, "image_size": 64, "layers": 4, "evaluate_every": 100}
    own = {"dataset": few_images(), **changes}
    return RunSpec.model_validate({"method": method or METHODS[0], **small, **own})


def run(*arguments: Any, pool: FeaturePool = POOL, **changes: Any) -> list[Event]:
    return list(fine_tune(spec(*arguments, **changes), features=pool))


def steps(events: list[Event]) -> list[StepEvent]:
    return [event for event in events if isinstance(event, StepEvent)]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m["kind"])
def test_a_run_yields_all_its_events(method: dict[str, Any]) -> None:
    events = run(method, probe_every=2)
    kinds = [(event.kind, event.step) for event in events]
    assert kinds[0] == ("prepared", 0)
    assert [step for kind, step in kinds if kind == "step"] == [1, 2, 3, 4]
    assert [step for kind, step in kinds if kind == "probe"] == [1, 2, 4]
    assert kinds[-1] == ("evaluation", 4)
    for event in events:
        assert EVENT_ADAPTER.validate_json(event.model_dump_json()) == event
    for step in steps(events):
        assert step.saved_bytes > step.activation_bytes > 0
        assert step.forward_seconds > 0
        assert step.backward_seconds > 0


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m["kind"])
def test_one_step_is_recorded_over_time_and_counts_as_the_others(method: dict[str, Any]) -> None:
    events = run(method, momentum=0.9, probe_every=4)
    (recorded,) = [event for event in events if isinstance(event, TimelineEvent)]
    assert recorded.step == 2
    timeline = recorded.timeline
    expected = measure_memory(spec(method, momentum=0.9), POOL)
    if method["kind"] != "hosvd":
        # HOSVD's ranks, and so its bytes, are those of each batch.
        assert timeline.peak.nbytes == pytest.approx(expected.peak.nbytes, rel=0.02)
        first, second, *_ = steps(events)
        assert second.saved_bytes == first.saved_bytes
    assert timeline.base.keys() == expected.base.keys()
    assert summarise(events)["peak_bytes"] == timeline.peak.nbytes
    without = run(method, momentum=0.9, probe_every=1)
    assert not any(isinstance(event, TimelineEvent) for event in without)
    assert [s.loss for s in steps(without)] == [s.loss for s in steps(events)]


def test_layers_by_name_are_trained_and_what_comes_before_them_is_kept() -> None:
    """The first of them is the twelfth from the end: features are those of the last twelve."""
    names = [layer.name for layer in layer_facts("efficientnet_lite0")]
    chosen = f"{names[-12]} {names[-3]}"
    prepared, *events = run({"kind": "asi", "ranks": 4}, layers=chosen, probe_every=2)
    deep, *_ = run(layers=12, steps=1)
    assert isinstance(prepared, PreparedEvent)
    assert isinstance(deep, PreparedEvent)
    assert [layer.name for layer in prepared.layers] == chosen.split()
    assert [layer.has_input_gradient for layer in prepared.layers] == [False, True]
    assert prepared.frozen_values == deep.frozen_values
    head = 1280 * 10 + 10
    weights = sum(prod(layer.weight_shape) for layer in prepared.layers)
    assert prepared.trained_parameters == weights + head
    probes = [event for event in events if isinstance(event, ProbeEvent)]
    assert [layer.name for layer in probes[0].layers] == chosen.split()


def test_the_last_layers_by_name_are_the_last_layers() -> None:
    last = " ".join(layer.name for layer in layer_facts("efficientnet_lite0")[-2:])
    by_name, by_number = run(layers=last, steps=2), run(layers=2, steps=2)
    assert [s.loss for s in steps(by_name)] == [s.loss for s in steps(by_number)]
    assert by_name[0] == by_number[0]


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m["kind"])
def test_the_same_spec_gives_the_same_numbers(method: dict[str, Any]) -> None:
    first, second = (run(method, pool=FeaturePool(2**29)) for _ in range(2))
    for one, other in zip(steps(first), steps(second), strict=True):
        assert (one.loss, one.accuracy, one.saved_bytes) == (
            other.loss,
            other.accuracy,
            other.saved_bytes,
        )
    assert first[-1] == second[-1]


@pytest.mark.usefixtures("two_threads")
def test_stored_features_change_no_digit() -> None:
    kept = [step.loss for step in steps(run(pool=FeaturePool(2**29)))]
    computed = [step.loss for step in steps(run(pool=FeaturePool(0)))]
    assert kept == computed


def test_compression_keeps_less_by_formula_and_for_real() -> None:
    vanilla, asi = (summarise(run(method)) for method in METHODS[:2])
    assert asi["activation_bytes"] < vanilla["activation_bytes"] / 10
    assert asi["measured_saved_bytes"] < vanilla["measured_saved_bytes"]


def test_measured_and_formula_differ_by_what_the_layers_do_not_keep() -> None:
    """Compression removes exactly what the formulas count, if no neighbour keeps it."""
    events = [run(method, layers=1) for method in METHODS[:2]]
    (vanilla, *_), (asi, *_) = (steps(e) for e in events)
    assert vanilla.saved_bytes - asi.saved_bytes == vanilla.activation_bytes - asi.activation_bytes


def test_the_linear_probe_trains_nothing_else() -> None:
    events = run(layers=0)
    prepared = events[0]
    assert isinstance(prepared, PreparedEvent)
    assert prepared.layers == ()
    assert prepared.trained_parameters == 1280 * 10 + 10
    assert not any(isinstance(event, ProbeEvent) for event in events)
    assert summarise(events)["activation_bytes"] == 0


def test_it_stops_before_the_next_step() -> None:
    seen: list[Event] = []
    for event in fine_tune(spec(), should_stop=lambda: len(steps(seen)) >= 2, features=POOL):
        seen.append(event)
    assert len(steps(seen)) == 2
    assert not any(isinstance(event, EvaluationEvent) for event in seen)


def test_training_learns() -> None:
    events = run(
        dataset="fashion_mnist_small", steps=40, batch_size=32, evaluate_every=40, image_size=32
    )
    losses = [step.loss for step in steps(events)]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    assert isinstance(events[-1], EvaluationEvent)
    assert events[-1].accuracy > 0.5


def test_a_diverging_run_says_so() -> None:
    with pytest.raises(AsiError, match=r"loss became .* at step .*: lower the learning rate"):
        run(learning_rate=1e30, clip_norm=1e30, steps=12)


def test_a_run_that_diverges_in_its_last_step_says_so() -> None:
    """No later loss would show it, and no store keeps NaN."""
    with pytest.raises(AsiError, match=r"loss became .* at step 1: lower the learning rate"):
        run(learning_rate=1e38, clip_norm=1e38, steps=1, evaluate_every=1)


def test_a_probe_of_values_that_are_not_finite_is_reported() -> None:
    layer = LayerProbe(name="layer", shape=(1,), singular_values=((1.0,),))
    assert ProbeEvent(step=1, layers=(layer,)).has_json
    undefined = layer.model_copy(update={"gradient_cosine": float("nan")})
    assert not ProbeEvent(step=1, layers=(undefined,)).has_json


def test_a_smaller_last_batch_is_trained_on_and_accounted_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = load_dataset("fashion_mnist_small")
    few, test = (ArraySplit(part.images[:24], part.labels[:24]) for part in (data.train, data.test))
    images = replace(data, train=few, test=test, fingerprint="few")
    monkeypatch.setattr(setup, "load_dataset", lambda name, **more: images)
    sizes = [s.activation_bytes for s in steps(run(METHODS[1], batch_size=16, steps=3))]
    vanilla = [s.activation_bytes for s in steps(run(batch_size=16, steps=3))]
    assert vanilla[1] * 2 == vanilla[0] == vanilla[2]
    assert sizes[1] < sizes[0] == sizes[2]


def test_normalisations_are_trained_on_request() -> None:
    def prepared(train_norm: bool) -> int:
        event = next(iter(fine_tune(spec(train_norm=train_norm), features=POOL)))
        assert isinstance(event, PreparedEvent)
        return event.trained_parameters

    assert prepared(True) - prepared(False) == 2 * (1152 + 1152 + 320 + 1280)


def test_only_normalisations_after_the_first_trained_layer_are_trained() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Linear(1, 1))
    train_only_(model, ["1"], ["3"], train_norm=True)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained == ["1.weight", "1.bias", "2.weight", "2.bias", "3.weight", "3.bias"]


def test_the_rate_falls_along_a_cosine_to_a_tenth() -> None:
    asked = spec(steps=101)
    assert learning_rate(asked, 1) == pytest.approx(0.05)
    assert learning_rate(asked, 51) == pytest.approx(0.0275)
    assert learning_rate(asked, 101) == pytest.approx(0.005)


def test_probes_report_spectra_and_energy() -> None:
    events = run(METHODS[2], probe_every=4)
    probe = [event for event in events if isinstance(event, ProbeEvent)][-1]
    assert [layer.name for layer in probe.layers][-1] == "conv_head"
    for layer in probe.layers:
        assert [len(values) for values in layer.singular_values] == [
            min(size, torch.Size(layer.shape).numel() // size) for size in layer.shape
        ]
        assert layer.ranks is not None
        assert layer.captured_energy is not None
        assert 0.8**4 < layer.captured_energy < 1
        for values in layer.singular_values:
            assert list(values) == sorted(values, reverse=True)


def probes(method: dict[str, Any]) -> list[ProbeEvent]:
    return [event for event in run(method, probe_every=2) if isinstance(event, ProbeEvent)]


def test_probes_compare_asi_with_the_best_and_with_the_previous_step() -> None:
    first, *_, last = probes(METHODS[1])
    for layer in first.layers:
        assert layer.drift_degrees == (None,) * 4, "the first step has no previous one"
    for layer in last.layers:
        assert layer.captured_energy is not None
        assert layer.best_energy is not None
        assert 0 < layer.captured_energy <= layer.best_energy + 0.01
        assert layer.gradient_cosine is not None
        assert 0.3 < layer.gradient_cosine < 1
        assert layer.drift_degrees is not None
        assert layer.ranks is not None
        for degrees, rank, size in zip(layer.drift_degrees, layer.ranks, layer.shape, strict=True):
            assert (degrees is None) == (rank == size)
            assert degrees is None or 0 <= degrees <= 90
    assert last.seconds is not None
    assert last.seconds > 0


def test_gradients_that_lose_nothing_have_a_cosine_of_one() -> None:
    for method in ({"kind": "asi", "ranks": 10_000}, {"kind": "hosvd", "explained_variance": 1.0}):
        for layer in probes(method)[-1].layers:
            assert layer.gradient_cosine == pytest.approx(1, abs=1e-5)
            assert layer.captured_energy == pytest.approx(1, abs=1e-5)
    assert all(layer.gradient_cosine is None for layer in probes(METHODS[0])[-1].layers)


def test_hosvd_is_its_own_best() -> None:
    for layer in probes(METHODS[2])[-1].layers:
        assert layer.best_energy == layer.captured_energy
        assert layer.drift_degrees is None


def test_probing_changes_no_number() -> None:
    seldom, often = (steps(run(METHODS[1], probe_every=n)) for n in (100, 1))
    assert [s.loss for s in seldom] == [s.loss for s in often]
    assert [s.saved_bytes for s in seldom] == [s.saved_bytes for s in often]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m["kind"])
def test_lean_layers_change_no_digit(method: dict[str, Any]) -> None:
    """Equal up to rounding where a compressed layer also computes a normalisation."""
    same = {"layout": "channels_last"}
    plain, lean = (steps(run(method, lean=value, **same)) for value in (False, True))
    expected = [s.loss for s in plain]
    rounded = 0 if method["kind"] == "vanilla" else 1e-5
    assert [s.loss for s in lean] == pytest.approx(expected, rel=rounded, abs=0)
    assert all(b.saved_bytes < a.saved_bytes for a, b in zip(plain, lean, strict=True))


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m["kind"])
def test_probes_carry_pictures_of_what_is_kept(method: dict[str, Any]) -> None:
    for layer in probes(method)[-1].layers:
        pictures = layer.pictures
        assert pictures is not None
        assert len(pictures.channels) == 6
        assert pictures.size == layer.shape[2:]
        assert (pictures.after is not None) == (method["kind"] in ("asi", "hosvd"))


def test_a_picture_of_what_lost_nothing_is_the_same() -> None:
    for layer in probes({"kind": "asi", "ranks": 10_000})[-1].layers:
        assert layer.pictures is not None
        assert layer.pictures.after == layer.pictures.before


@pytest.mark.usefixtures("plugins")
def test_a_method_without_closed_form_trains_and_is_measured() -> None:
    events = run({"kind": "nonzero"}, layers=2)
    for step in steps(events):
        assert step.saved_bytes > 0
        assert step.activation_bytes is step.macs is step.overhead_macs is None
    (probe, *_) = (event for event in events if isinstance(event, ProbeEvent))
    # It keeps the input losslessly.
    assert probe.layers[0].gradient_cosine == pytest.approx(1, abs=1e-4)
    assert probe.layers[0].ranks is probe.layers[0].captured_energy is None
    vanilla = steps(run(METHODS[0], layers=2))
    losses = [step.loss for step in steps(events)]
    assert losses == pytest.approx([step.loss for step in vanilla], rel=1e-3)


@pytest.mark.usefixtures("plugins")
def test_where_no_layer_is_trained_nothing_is_kept_whatever_the_method() -> None:
    (step, *_) = steps(run({"kind": "nonzero"}, layers=0))
    assert (step.activation_bytes, step.macs) == (0, 0)
