"""The runs and measurements that lessons use, found by their specification, not by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

import streamlit as st

from asi_core.costs.accounting import StepCost
from asi_core.costs.estimate import estimate
from asi_core.methods import ASI, USUAL_EXPLAINED_VARIANCE, Method, Vanilla
from asi_core.results.outcomes import measure
from asi_core.runs.records import EXAMPLE_OWNER, RunRecord
from asi_core.runs.store.library import Found, RunFilter, RunLibrary
from asi_core.training.events import LayerProbe
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import model_card
from dashboard import services
from dashboard.left_out import names_of

# The default specification, which all lessons use.
USUAL = RunSpec(method=ASI(explained_variance=USUAL_EXPLAINED_VARIANCE))
USUAL_CAPTION = (
    f"Formula, exact convention: the last {USUAL.layers} convolutions of "
    f"{model_card(USUAL.model).title}, batch {USUAL.batch_size}, {USUAL.image_size} pixels."
)

# The measures of a sweep point; all must be present and not 0.
_MEASURES = ("accuracy", "activation_bytes", "saved_bytes")
_CACHE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class ProbedRun:
    """A completed ASI run of the usual specification, with its probes by step and layer name."""

    spec: RunSpec
    origin: str
    probes: Mapping[int, Mapping[str, LayerProbe]]

    @property
    def steps(self) -> list[int]:
        return sorted(self.probes)

    @property
    def layers(self) -> list[str]:
        return list(self.probes[self.steps[0]])


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """Runs that differ only in their seed.

    Attributes:
        accuracy: seed -> accuracy on the test images after the last step, 0 to 1.
        activation_bytes, saved_bytes: by formula, and measured; means over the runs.
    """

    method: Method
    accuracy: Mapping[int, float]
    activation_bytes: float
    saved_bytes: float

    @property
    def mean_accuracy(self) -> float:
        return fmean(self.accuracy.values())

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over the seeds; None for a single seed."""
        return stdev(self.accuracy.values()) if len(self.accuracy) > 1 else None


@dataclass(frozen=True, slots=True)
class Sweep:
    """Vanilla, and ASI at several explained variances, with the usual specification otherwise."""

    origin: str
    vanilla: SweepPoint
    asi: Mapping[float, SweepPoint]

    @property
    def points(self) -> list[SweepPoint]:
        """ASI by rising explained variance, vanilla last."""
        return [*(self.asi[share] for share in sorted(self.asi)), self.vanilla]


def usual_cost(
    method: Method,
    model: str = USUAL.model,
    layers: int | str = USUAL.layers,
    batch: int = USUAL.batch_size,
    side: int = USUAL.image_size,
) -> StepCost:
    """One step by formula (exact convention), by default with the usual specification."""
    return estimate(
        model, method, layers=layers, batch_size=batch, image_size=side, convention="exact"
    )


def probed_run() -> ProbedRun | None:
    """The usual run with its probes, shipped ones first; None if the store has none."""
    return _probed_run(services.store().url)


def sweep() -> Sweep | None:
    """The usual run at several explained variances; None without vanilla and the usual one."""
    return _sweep(services.store().url)


def saved_by_category(method: Method) -> dict[str, int] | None:
    """Measured bytes that one usual step saves, by category; None if not measured."""
    spec = USUAL.model_copy(update={"method": method})
    known = services.jobs().latest("measure", spec, "completed")
    if known is None or known.result is None:
        return None
    return dict(known.result["saved_bytes"]["by_category"])


@st.cache_resource(ttl=_CACHE_SECONDS, show_spinner=False)
def _probed_run(url: str) -> ProbedRun | None:
    for run in sorted(_completed(url), key=lambda run: (_is_own(run), run.spec.probe_interval)):
        if _trained_like(run.spec) == USUAL:
            probes = services.feeds().of(run).probes
            if _can_be_replayed(probes):
                return ProbedRun(run.spec, _origin([run]), probes)
    return None


def _can_be_replayed(probes: Mapping[int, Mapping[str, LayerProbe]]) -> bool:
    """Whether there are steps after the first, and all probes compare ASI with HOSVD."""
    of_layers = [probe for layers in probes.values() for probe in layers.values()]
    return len(probes) > 1 and all(probe.best_energy is not None for probe in of_layers)


@st.cache_resource(ttl=_CACHE_SECONDS, show_spinner=False)
def _sweep(url: str) -> Sweep | None:
    by_method: dict[Method, dict[int, RunRecord]] = {}
    for run in _completed(url):
        if _belongs_to_sweep(run.spec) and all(measure(run, name) for name in _MEASURES):
            by_method.setdefault(run.spec.method, {}).setdefault(run.spec.seed, run)
    points = {method: _point(method, runs) for method, runs in by_method.items()}
    if Vanilla() not in points or USUAL.method not in points:
        return None
    asi = {
        method.explained_variance: point
        for method, point in points.items()
        if isinstance(method, ASI) and method.explained_variance is not None
    }
    everything = [run for runs in by_method.values() for run in runs.values()]
    return Sweep(_origin(everything), points[Vanilla()], asi)


def left_out() -> list[str]:
    """Invalid runs of the usual model and images, each with the reason."""
    store = services.store()
    drawn = [_drawn_problem(run) for run in _completed(store.url)]
    return [*names_of(_found(store.url).left_out), *(message for message in drawn if message)]


def _drawn_problem(run: RunRecord) -> str | None:
    if _trained_like(run.spec) != USUAL:
        return None
    problem = services.feeds().of(run).problem
    return problem and f"{run.id} ({problem})"


def _completed(url: str) -> list[RunRecord]:
    """Completed runs of the usual model and images: shipped ones first, then the newest."""
    return sorted(_found(url).runs, key=_is_own)


@st.cache_resource(ttl=_CACHE_SECONDS, show_spinner=False)
def _found(url: str) -> Found:
    library = RunLibrary(url)
    try:
        return library.found(
            RunFilter(
                status=("completed",),
                model=(USUAL.model,),
                dataset=(USUAL.dataset,),
                # Lessons do not use imported runs.
                imports_of=(),
            )
        )
    finally:
        library.close()


def _is_own(run: RunRecord) -> bool:
    return run.owner != EXAMPLE_OWNER


def _trained_like(spec: RunSpec) -> RunSpec:
    """The specification without its evaluation and probe intervals, which change no result."""
    return spec.model_copy(update={"evaluate_every": None, "probe_every": None})


def _belongs_to_sweep(spec: RunSpec) -> bool:
    method = spec.method
    if isinstance(method, ASI):
        if method.explained_variance is None:
            return False
        if method != ASI(explained_variance=method.explained_variance):
            return False
    elif not isinstance(method, Vanilla):
        return False
    varied = {"method": USUAL.method, "seed": USUAL.seed}
    return _trained_like(spec).model_copy(update=varied) == USUAL


def _point(method: Method, runs: Mapping[int, RunRecord]) -> SweepPoint:
    summaries = {seed: run.summary for seed, run in runs.items() if run.summary is not None}
    return SweepPoint(
        method,
        {seed: summary["test_accuracy"] for seed, summary in summaries.items()},
        fmean(summary["activation_bytes"] for summary in summaries.values()),
        fmean(summary["measured_saved_bytes"] for summary in summaries.values()),
    )


def _origin(runs: Iterable[RunRecord]) -> str:
    own = [_is_own(run) for run in runs]
    if not any(own):
        return "precomputed, shipped with the app"
    return "runs of this installation" if all(own) else "shipped runs and runs made here"
