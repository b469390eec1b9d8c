"""A summary of a run, computed from its events."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median
from typing import Any

from asi_core.records import of_whole_batches
from asi_core.training.events import (
    EvaluationEvent,
    Event,
    PreparedEvent,
    ProbeEvent,
    StepEvent,
    TimelineEvent,
)


def summarise(events: Sequence[Event]) -> dict[str, Any]:
    """Accuracy, bytes, multiplies and seconds of a run; None for what is not measured yet.

    Bytes and multiplies are means over the steps with a whole batch (HOSVD's ranks change with
    every batch), seconds are medians. Values by formula are None for a method without closed form,
    and `balanced_accuracy` if the test images are not very unbalanced. `images` has the fields of
    `ImageCounts`. `peak_bytes` is what one step added at its peak to what was there before,
    measured. `probe_share` is the time of all probes as a share of the time of all steps.
    """
    steps = [event for event in events if isinstance(event, StepEvent)]
    evaluations = [event for event in events if isinstance(event, EvaluationEvent)]
    probes = [event for event in events if isinstance(event, ProbeEvent)]
    prepared = [event for event in events if isinstance(event, PreparedEvent)]
    timelines = [event for event in events if isinstance(event, TimelineEvent)]
    images = prepared[-1].images if prepared else None
    seconds = [step.step_seconds for step in steps]
    whole = of_whole_batches(steps, [step.forward_macs for step in steps])
    probing = [probe.seconds for probe in probes if probe.seconds is not None]
    return {
        "steps_done": steps[-1].step if steps else 0,
        "test_accuracy": evaluations[-1].accuracy if evaluations else None,
        "balanced_accuracy": evaluations[-1].balanced_accuracy if evaluations else None,
        "best_accuracy": max((e.accuracy for e in evaluations), default=None),
        "images": None if images is None else images.model_dump(),
        "final_loss": steps[-1].loss if steps else None,
        "activation_bytes": _mean([s.activation_bytes for s in whole]),
        "measured_saved_bytes": _mean([s.saved_bytes for s in whole]),
        "peak_bytes": timelines[-1].timeline.peak.nbytes if timelines else None,
        "macs": {
            "forward": _mean([s.forward_macs for s in whole]),
            "overhead": _mean([s.overhead_macs for s in whole]),
            "backward": _mean([s.backward_macs for s in whole]),
            "total": _mean([s.macs for s in whole]),
        },
        "seconds": {
            "step_median": _median(seconds),
            "forward_median": _median([s.forward_seconds for s in steps]),
            "backward_median": _median([s.backward_seconds for s in steps]),
            "prefix_total": sum(s.prefix_seconds for s in steps),
            "probe_median": _median(probing),
            "probe_share": sum(probing) / sum(seconds) if probing and sum(seconds) else None,
        },
    }


def _mean(values: Sequence[float | None]) -> int | None:
    """The mean; None if a value is unknown, which must not count as 0."""
    known = [value for value in values if value is not None]
    return round(fmean(known)) if known and len(known) == len(values) else None


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
