"""The summary of a finished run, from events made by hand."""

from __future__ import annotations

import pytest

from asi_core.training.events import (
    EVENT_ADAPTER,
    EvaluationEvent,
    ImageCounts,
    PreparedEvent,
    ProbeEvent,
    StepEvent,
)
from asi_core.training.summary import summarise


def step(number: int, seconds: float) -> StepEvent:
    return StepEvent(
        step=number,
        loss=1.0,
        accuracy=0.5,
        learning_rate=0.1,
        prefix_seconds=9.0,
        forward_seconds=seconds / 2,
        backward_seconds=seconds / 4,
        update_seconds=seconds / 4,
        saved_bytes=100 * number,
        activation_bytes=10 * number,
        forward_macs=1,
        overhead_macs=2,
        backward_macs=3,
    )


def test_probes_are_set_against_all_steps_and_not_against_reading() -> None:
    events = [step(1, 2.0), ProbeEvent(step=1, layers=(), seconds=1.0), step(2, 4.0), step(3, 2.0)]
    seconds = summarise(events)["seconds"]
    assert seconds["step_median"] == pytest.approx(2.0)
    assert seconds["probe_median"] == pytest.approx(1.0)
    assert seconds["probe_share"] == pytest.approx(1 / 8)


def test_what_was_not_reached_is_none() -> None:
    summary = summarise([step(1, 2.0), ProbeEvent(step=1, layers=())])
    assert summary["seconds"]["probe_share"] is None
    assert summary["test_accuracy"] is None
    assert summarise([])["seconds"]["step_median"] is None


def test_image_counts_are_those_of_the_prepared_event() -> None:
    counts = ImageCounts(classes=3, train=10, test=5, left_out=2, is_unbalanced=True)
    prepared = PreparedEvent(
        step=0,
        layers=(),
        trained_parameters=1,
        frozen_values=1,
        device="cpu",
        threads=1,
        images=counts,
    )
    tested = EvaluationEvent(step=1, accuracy=0.9, loss=1.0, balanced_accuracy=0.5)
    summary = summarise([prepared, tested])
    assert summary["images"] == counts.model_dump()
    assert (summary["test_accuracy"], summary["balanced_accuracy"]) == (0.9, 0.5)
    assert summarise([])["images"] is summarise([])["balanced_accuracy"] is None


def test_the_last_accuracy_counts_and_the_best_is_reported() -> None:
    events = [
        EvaluationEvent(step=n, accuracy=a, loss=1.0) for n, a in ((1, 0.4), (2, 0.6), (3, 0.5))
    ]
    summary = summarise(events)
    assert summary["test_accuracy"] == 0.5
    assert summary["best_accuracy"] == 0.6


def test_a_count_that_is_not_known_is_none_and_not_0() -> None:
    counts = ("activation_bytes", "forward_macs", "overhead_macs", "backward_macs")
    without = [step(n, 2.0).model_copy(update=dict.fromkeys(counts)) for n in (1, 2)]
    assert without[0].macs is None
    summary = summarise(without)
    assert summary["activation_bytes"] is None
    assert set(summary["macs"].values()) == {None}
    assert summary["measured_saved_bytes"] == 150
    # Values of some steps are not the mean of all.
    assert summarise([without[0], step(2, 2.0)])["activation_bytes"] is None
    assert summarise([step(1, 2.0), step(3, 2.0)])["activation_bytes"] == 20


def test_events_of_earlier_versions_are_read_unchanged() -> None:
    written = step(1, 2.0).model_dump(mode="json")
    assert EVENT_ADAPTER.validate_python(written) == step(1, 2.0)
    assert step(1, 2.0).macs == 6


def test_bytes_and_multiplies_are_those_of_whole_batches() -> None:
    whole, rest = step(1, 1.0), step(2, 1.0).model_copy(update={"forward_macs": 0})
    summary = summarise([whole, rest, step(3, 1.0)])
    assert summary["activation_bytes"] == 20
    assert summary["measured_saved_bytes"] == 200
    assert summary["macs"]["forward"] == 1
