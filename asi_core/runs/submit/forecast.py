"""A forecast of the duration of runs, from the step times of completed runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log
from statistics import median
from typing import Literal

from asi_core.costs.estimate import estimate
from asi_core.datasets import dataset_card
from asi_core.methods import Vanilla
from asi_core.runs.records import EXAMPLE_OWNER, RunRecord, kind_of
from asi_core.runs.validity.rows import problem_of
from asi_core.training.spec import RunSpec
from asi_core.units import format_seconds

# The source of a run's seconds: equal runs measured here, equal runs of the shipped examples, or
# other runs, scaled by multiply-accumulates.
Source = Literal["here", "elsewhere", "scaled"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """The total duration of runs that are executed one after the other.

    Attributes:
        seconds: total over the runs with a known source.
        counts: number of runs by source.
        unknown: number of runs without any similar measured run; not included in `seconds`.
    """

    seconds: float
    counts: dict[Source, int]
    unknown: int

    @property
    def sentence(self) -> str:
        """The forecast and its sources."""
        known = sum(self.counts.values())
        if not known:
            return "No measured step yet: the first run will show how long the others take."
        parts = [f"{self.counts[key]} {_ORIGINS[key]}" for key in _ORIGINS if self.counts[key]]
        text = f"About {format_seconds(self.seconds)} by step times: {', '.join(parts)}"
        if self.unknown:
            text += f"; plus {self.unknown} without any measured step"
        return text + "."


_ORIGINS: dict[Source, str] = {
    "here": "like runs measured here",
    "elsewhere": "like runs of the shipped examples, measured on another machine",
    "scaled": "scaled by multiply-accumulates from the nearest measured runs",
}


@dataclass(frozen=True, slots=True)
class _Pace:
    """Seconds per step, and per image forward, of a completed run."""

    spec: RunSpec
    is_example: bool
    step_seconds: float
    image_seconds: float


def forecast(specs: Sequence[RunSpec], known: Sequence[RunRecord]) -> Forecast:
    """Forecast the seconds of runs from completed runs.

    A run's time is the median of completed runs with the same model, method, layers, batch and
    image size. Without any, it is that of the nearest run of the same model, scaled by the MACs of
    vanilla training in both. Evaluations are counted as forward passes over the test images.

    Args:
        known: runs of any status; only completed ones are used.
    """
    paces = [pace for run in known if (pace := _pace(run)) is not None]
    counts: dict[Source, int] = {"here": 0, "elsewhere": 0, "scaled": 0}
    seconds, unknown = 0.0, 0
    for spec in specs:
        found = _seconds(spec, paces)
        if found is None:
            unknown += 1
        else:
            seconds += found[0]
            counts[found[1]] += 1
    return Forecast(seconds, counts, unknown)


def _pace(run: RunRecord) -> _Pace | None:
    if run.status != "completed" or run.summary is None or problem_of(run) is not None:
        return None
    seconds = run.summary["seconds"]
    # Probing and the frozen part are not part of a step's time, so they are added.
    with_probes = 1 + (seconds.get("probe_share") or 0)
    prefix = seconds["prefix_total"] / run.summary["steps_done"]
    return _Pace(
        spec=run.spec,
        is_example=run.owner == EXAMPLE_OWNER,
        step_seconds=seconds["step_median"] * with_probes + prefix,
        image_seconds=seconds["forward_median"] / run.spec.batch_size,
    )


def _seconds(spec: RunSpec, paces: Sequence[_Pace]) -> tuple[float, Source] | None:
    alike = [pace for pace in paces if _conditions(pace.spec) == _conditions(spec)]
    here = [pace for pace in alike if not pace.is_example]
    if alike:
        source: Source = "here" if here else "elsewhere"
        return median(_total(spec, pace, 1.0) for pace in here or alike), source
    near = [pace for pace in paces if _can_scale(pace.spec, spec)]
    if not near:
        return None
    ratios = {id(pace): _work(spec) / _work(pace.spec) for pace in near}

    def distance(pace: _Pace) -> tuple[bool, float, bool]:
        other_method = pace.spec.method.kind != spec.method.kind
        return other_method, abs(log(ratios[id(pace)])), pace.is_example

    nearest = min(near, key=distance)
    return _total(spec, nearest, ratios[id(nearest)]), "scaled"


def _total(spec: RunSpec, pace: _Pace, ratio: float) -> float:
    """Seconds of a run whose steps take `ratio` times as long as those of `pace`."""
    evaluations = ceil(spec.steps / spec.evaluation_interval)
    # If the number of images is not known without reading them, evaluation is left out.
    images = evaluations * (dataset_card(spec.dataset).test_count or 0)
    images_ratio = ratio * pace.spec.batch_size / spec.batch_size
    return spec.steps * pace.step_seconds * ratio + images * pace.image_seconds * images_ratio


def _conditions(spec: RunSpec) -> tuple[object, ...]:
    return spec.model, kind_of(spec), spec.layers, spec.batch_size, spec.image_size


def _can_scale(known: RunSpec, new: RunSpec) -> bool:
    """Whether the time of one can be scaled from the other by multiply-accumulates."""
    return known.model == new.model and (known.layers == 0) == (new.layers == 0)


def _work(spec: RunSpec) -> float:
    """MACs of a step of vanilla training; for a linear probe, its number of images."""
    if spec.layers == 0:
        return float(spec.batch_size)
    cost = estimate(
        spec.model,
        Vanilla(),
        layers=spec.layers,
        batch_size=spec.batch_size,
        image_size=spec.image_size,
        convention="exact",
    )
    return float(cost.macs.total)
