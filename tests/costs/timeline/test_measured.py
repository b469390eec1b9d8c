"""Timelines of small networks whose bytes can be counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.profiler import profile

from asi_core.costs.timeline import measured
from asi_core.costs.timeline.allocator import Level, allocations_of
from asi_core.costs.timeline.measured import (
    MeasuredStep,
    TimelinesDisagree,
    measure_timeline,
)
from asi_core.costs.timeline.recording import Recorder, StepRecorder
from asi_core.costs.timeline.records import Timeline, Use
from asi_core.layers.surgery import compress_
from asi_core.methods import ASI
from tests.costs.networks import Residual

BATCH, WIDTH = 8, 32


def timeline_of(model: nn.Module, layers: list[str], x: Tensor, **named: Any) -> Timeline:
    def step(recorder: Recorder) -> None:
        with recorder.forward():
            loss = model(x).square().sum()
        loss.backward()
        model.zero_grad()

    return measure_timeline(model, step, layers, None, batch=[x], **named)


def test_a_linear_layer_needs_its_output_and_its_gradients() -> None:
    model, x = nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False)), torch.randn(BATCH, WIDTH)
    found = timeline_of(model, ["0"], x)
    output, weight = 4 * BATCH * WIDTH, 4 * WIDTH * WIDTH
    assert found.base == {Use.BATCH: output, Use.TRAINED_WEIGHTS: weight}
    # The output, which the loss keeps, its gradient, and the weight's.
    assert max(found.levels(Use.GRADIENTS)) == weight
    assert found.peak.moment.phase == "backward"
    assert weight + output <= found.peak.nbytes <= weight + 3 * output
    # The input was there before the step: it is the batch.
    assert found.kept_bytes == output


def test_phases_and_places_follow_the_graph() -> None:
    model = Residual()
    found = timeline_of(model, ["conv1", "conv2"], torch.randn(2, 4, 6, 6))
    backward = [m for m in found.moments if m.phase == "backward"]
    first = [m.place for m in found.moments if m.operator.startswith("convolution.")]
    then = [m.place for m in backward if m.operator.startswith("convolution_backward")]
    assert first == ["conv1", "conv2"]
    assert then == ["conv2", "conv1"]
    phases = [moment.phase for moment in found.moments]
    assert phases == sorted(phases, key=["forward", "backward"].index)


def test_state_of_the_optimiser_and_the_update_are_seen() -> None:
    model, x = nn.Sequential(nn.Linear(WIDTH, 4)), torch.randn(BATCH, WIDTH)
    optimiser = torch.optim.AdamW(model.parameters(), foreach=False)

    def step(recorder: Recorder) -> None:
        with recorder.forward():
            loss = F.cross_entropy(model(x), torch.zeros(BATCH, dtype=torch.long))
        loss.backward()
        with recorder.update():
            optimiser.step()
        optimiser.zero_grad()

    found = measure_timeline(model, step, ["0"], None, batch=[x], optimiser=optimiser)
    parameters = 4 * (4 * WIDTH + 4)
    # Two numbers per parameter, and the count of steps of each of the two tensors.
    assert found.base[Use.OPTIMISER] == 2 * parameters + 2 * 4
    assert {"forward", "backward", "update"} == {moment.phase for moment in found.moments}


def test_what_an_operator_needs_within_is_told_apart() -> None:
    """A convolution of one small image is a matrix product of its windows."""
    model, x = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False)), torch.randn(1, 4, 8, 8)
    found = timeline_of(model, ["0"], x)
    inside = {m.operator.split(".")[0]: m.inside_bytes for m in found.moments}
    assert inside["convolution"] >= 4 * 4 * 9 * 64
    assert max(found.levels(Use.INSIDE)) == max(inside.values())


def test_what_an_earlier_record_saw_allocated_may_be_released_in_a_later_one() -> None:
    """PyTorch's profiler remembers it, and reports its release like that of the step's own."""
    x = torch.randn(BATCH, WIDTH)
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH))
    expected, seen = timeline_of(model, ["0"], x), []
    with profile(profile_memory=True):
        seen.append(torch.ones(9000))

    def step(recorder: Recorder) -> None:
        with recorder.forward():
            loss = model(x).square().sum()
        if isinstance(recorder, StepRecorder):
            seen.clear()
        loss.backward()
        model.zero_grad()

    found = measure_timeline(model, step, ["0"], None, batch=[x])
    assert not seen
    assert found.peak.nbytes == expected.peak.nbytes


def test_warm_starts_of_a_recorded_step_may_be_replaced_in_the_next() -> None:
    model, x = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1)), torch.randn(16, 8, 8, 8)
    compress_(model, ASI(ranks=4), layers=["0"])
    found = []
    for _ in range(2):
        record = MeasuredStep(model, ["0"], None, batch=[x])
        with record as recorder:
            with recorder.forward():
                loss = model(x).square().sum()
            loss.backward()
            model.zero_grad()
        found.append(record.timeline())
    assert found[1].peak.nbytes <= found[0].peak.nbytes


class Forgetful:
    """An allocator that misses the last release."""

    def __init__(self) -> None:
        self._own = allocations_of(torch.device("cpu"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def __enter__(self) -> Any:
        self._own.__enter__()  # type: ignore[union-attr]
        return self

    def __exit__(self, *error: Any) -> None:
        self._own.__exit__(*error)  # type: ignore[union-attr]

    def levels(self) -> list[Level]:
        found = self._own.levels()  # type: ignore[union-attr]
        return [*found[:-3], *(Level(at.highest, at.last + 4096) for at in found[-3:])]


def test_counts_that_differ_are_no_timeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "allocations_of", lambda device: Forgetful())
    with pytest.raises(TimelinesDisagree, match="there is no timeline to report"):
        timeline_of(nn.Sequential(nn.Linear(WIDTH, WIDTH)), ["0"], torch.randn(BATCH, WIDTH))


def test_what_lies_on_another_device_is_not_the_devices_memory() -> None:
    """As indices that are made on the processor for a step on a GPU; here, those without memory."""
    model, x = nn.Sequential(nn.Linear(WIDTH, WIDTH)), torch.randn(BATCH, WIDTH)
    plain = timeline_of(model, ["0"], x)

    def step(recorder: Recorder) -> None:
        elsewhere = [torch.zeros(4096, device="meta")]
        with recorder.forward():
            elsewhere.append(torch.ones(4096, device="meta"))
            loss = model(x).square().sum()
        loss.backward()
        model.zero_grad()

    found = measure_timeline(model, step, ["0"], None, batch=[x])
    assert (found.peak.nbytes, found.kept_bytes) == (plain.peak.nbytes, plain.kept_bytes)


def test_without_reports_of_an_allocator_storages_are_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x = nn.Sequential(nn.Linear(WIDTH, WIDTH)), torch.randn(BATCH, WIDTH)
    full = timeline_of(model, ["0"], x)
    monkeypatch.setattr(measured, "allocations_of", lambda device: None)
    found = timeline_of(model, ["0"], x)
    assert found.kept_bytes == full.kept_bytes
    assert not any(moment.inside_bytes for moment in found.moments)
