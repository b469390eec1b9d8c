"""The runs and measurements that lessons use, found by their specification, not by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

import streamlit as st

from asi_core.costs.accounting import StepCost
from asi_core.costs.estimate import estimate
from asi_core.costs.needs import Need
from asi_core.costs.timeline.records import Timeline
from asi_core.methods import ASI, USUAL_EXPLAINED_VARIANCE, Method, Vanilla
from asi_core.results.outcomes import measure
from asi_core.runs.records import EXAMPLE_OWNER, RunRecord
from asi_core.runs.store.library import Found, RunFilter, RunLibrary
from asi_core.training.events import LayerProbe
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import model_card
from dashboard import services
from dashboard.learn.shipped import NEEDS, TIMELINES
from dashboard.left_out import names_of

# The default specification with the published update, which all lessons use: they explain it.
USUAL = RunSpec(method=ASI(explained_variance=USUAL_EXPLAINED_VARIANCE, update="every_step"))
USUAL_CAPTION = (
    f"Formula, exact convention: the last {USUAL.layers} convolutions of "
    f"{model_card(USUAL.model).title}, batch {USUAL.batch_size}, {USUAL.image_size} pixels."
)

# The longest runs of the poster's study.
STUDY_DEPTH = 12
STUDY = RunSpec(
    method=Vanilla(),
    model="mcunet_in1",
    dataset="imagefolder:cifar10_small.zip",
    layers=STUDY_DEPTH,
    steps=600,
    image_size=128,
)
# The measures of a point of the study; all must be there.
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
class StudyPoint:
    """Runs that differ only in their seed.

    Attributes:
        layers: how many of the last are trained; 0 for the linear probe.
        accuracy: seed -> accuracy on the test images after the last step, 0 to 1.
        activation_bytes, saved_bytes: by formula, and measured; means over the runs.
    """

    method: Method
    layers: int
    accuracy: Mapping[int, float]
    activation_bytes: float
    saved_bytes: float

    @property
    def mean_accuracy(self) -> float:
        return fmean(self.accuracy.values())


@dataclass(frozen=True, slots=True)
class Study:
    """MCUNet on CIFAR-10, as in the poster's study.

    Attributes:
        head: the linear probe.
        vanilla, asi: by the number of trained layers, fewest first; ASI at the usual explained
            variance.
    """

    origin: str
    head: StudyPoint
    vanilla: Mapping[int, StudyPoint]
    asi: Mapping[int, StudyPoint]

    @property
    def points(self) -> list[StudyPoint]:
        return [self.head, *self.vanilla.values(), *self.asi.values()]

    @property
    def deepest(self) -> tuple[StudyPoint, StudyPoint]:
        """Vanilla and ASI with the most trained layers."""
        return self.vanilla[STUDY_DEPTH], self.asi[STUDY_DEPTH]


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


def study() -> Study | None:
    """The study; None without its linear probe, or vanilla or ASI of most layers."""
    return _study(services.store().url)


def study_cost(method: Method) -> StepCost:
    """One step of the study with the most layers, by formula (exact convention)."""
    return usual_cost(method, STUDY.model, STUDY.layers, STUDY.batch_size, STUDY.image_size)


def whole_steps() -> dict[str, Timeline]:
    """The memory of a step of the whole usual network by formula, by the names of
    `shipped.TIMELINES`; empty if the store does not have them all."""
    return _whole_steps(services.jobs().url)


def needs() -> dict[RunSpec, Need]:
    """What the steps `shipped.NEEDS` need, by formula; empty if the store does not have all."""
    return _needs(services.jobs().url)


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
def _study(url: str) -> Study | None:
    alike: dict[tuple[Method, int], dict[int, RunRecord]] = {}
    for run in _completed(url, STUDY):
        if (key := _place_in_study(run.spec)) and all(
            measure(run, name) is not None for name in _MEASURES
        ):
            alike.setdefault(key, {}).setdefault(run.spec.seed, run)
    found = {key: _point(*key, runs) for key, runs in sorted(alike.items(), key=_by_layers)}
    vanilla, asi = (
        {point.layers: point for (method, layers), point in found.items() if layers and method == m}
        for m in (STUDY.method, USUAL.method)
    )
    head = found.get((STUDY.method, 0))
    if head is None or STUDY_DEPTH not in vanilla or STUDY_DEPTH not in asi:
        return None
    return Study(
        _origin(run for runs in alike.values() for run in runs.values()), head, vanilla, asi
    )


def _by_layers(item: tuple[tuple[Method, int], object]) -> int:
    return item[0][1]


def _place_in_study(spec: RunSpec) -> tuple[Method, int] | None:
    """Method and trained layers of a run of the study; None for other runs."""
    varied = {"method": STUDY.method, "seed": STUDY.seed, "layers": STUDY.layers}
    if _trained_like(spec).model_copy(update=varied) != STUDY or isinstance(spec.layers, str):
        return None
    # The linear probe trains no layer, by whatever method.
    method = spec.method if spec.layers else STUDY.method
    return (method, spec.layers) if method in (STUDY.method, USUAL.method) else None


# Shipped, so that they do not change while the app runs.
@st.cache_resource(show_spinner=False)
def _whole_steps(url: str) -> dict[str, Timeline]:
    found = services.jobs().answers("timeline_formula", TIMELINES.values())
    if len(found) < len(TIMELINES):
        return {}
    return {name: Timeline.from_dict(found[spec].result or {}) for name, spec in TIMELINES.items()}


@st.cache_resource(show_spinner=False)
def _needs(url: str) -> dict[RunSpec, Need]:
    found = services.jobs().answers("need", NEEDS)
    if len(found) < len(NEEDS):
        return {}
    return {spec: Need.from_dict(job.result or {}) for spec, job in found.items()}


def left_out() -> list[str]:
    """Invalid runs of the models and images of the lessons, each with the reason."""
    url = services.store().url
    drawn = [_drawn_problem(run) for run in _completed(url)]
    bad = [one for of in (USUAL, STUDY) for one in _found(url, of.model, of.dataset).left_out]
    return [*names_of(bad), *(message for message in drawn if message)]


def _drawn_problem(run: RunRecord) -> str | None:
    if _trained_like(run.spec) != USUAL:
        return None
    problem = services.feeds().of(run).problem
    return problem and f"{run.id} ({problem})"


def _completed(url: str, of: RunSpec = USUAL) -> list[RunRecord]:
    """Completed runs of a specification's model and images: shipped first, then the newest."""
    return sorted(_found(url, of.model, of.dataset).runs, key=_is_own)


@st.cache_resource(ttl=_CACHE_SECONDS, show_spinner=False)
def _found(url: str, model: str, dataset: str) -> Found:
    library = RunLibrary(url)
    try:
        return library.found(
            RunFilter(
                status=("completed",),
                model=(model,),
                dataset=(dataset,),
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


def _point(method: Method, layers: int, runs: Mapping[int, RunRecord]) -> StudyPoint:
    summaries = {seed: run.summary for seed, run in runs.items() if run.summary is not None}
    return StudyPoint(
        method,
        layers,
        {seed: summary["test_accuracy"] for seed, summary in summaries.items()},
        fmean(summary["activation_bytes"] for summary in summaries.values()),
        fmean(summary["measured_saved_bytes"] for summary in summaries.values()),
    )


def _origin(runs: Iterable[RunRecord]) -> str:
    own = [_is_own(run) for run in runs]
    if not any(own):
        return "precomputed, shipped with the app"
    return "runs of this installation" if all(own) else "shipped runs and runs made here"
