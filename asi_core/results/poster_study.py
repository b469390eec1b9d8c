"""The poster study, read from the store: methods over trained layers, and at equal accuracy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from pydantic import ValidationError

from asi_core.costs.accounting import step_cost
from asi_core.errors import AsiError, one_sentence
from asi_core.methods import ASI, Method, Vanilla
from asi_core.methods.asi import SubspaceIteration
from asi_core.records import HEAD_LABEL, LayerShape
from asi_core.results.equal_accuracy import Reached, price_of
from asi_core.results.outcomes import Spread, measure, spread
from asi_core.runs.records import LeftOut, RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.validity.probes import check_probes
from asi_core.runs.validity.rows import check_record
from asi_core.runs.validity.specs import InvalidRun
from asi_core.training.events import ProbeEvent
from asi_core.training.spec import RunSpec
from asi_core.units import layer_count
from asi_core.zoo.shapes import trained_layer_shapes

# Comparisons of the study. The first two have one comparison per seed.
SEEDS = (0, 1, 2)
CURVES, SETTINGS = (
    tuple(f"example-poster-{part}-{seed}" for seed in SEEDS) for part in ("curves", "settings")
)
SMALL, DRIFT = ("example-poster-small",), ("example-poster-drift",)
# A price besides the measures of `outcomes`: MACs as the poster counts them.
PAPER_MACS = "paper_macs"


@dataclass(frozen=True, slots=True)
class Setting:
    """A method at a number of trained layers, with one run per seed.

    Attributes:
        method: method of the first seed; ranks that depend on data may differ between seeds.
        runs: completed runs, by seed.
        paper_macs: MACs of a step of each run, in the paper's convention.
    """

    layers: int
    method: Method
    runs: tuple[RunRecord, ...]
    paper_macs: tuple[float, ...]

    def prices(self, name: str) -> tuple[float, ...]:
        """Values of the measure `name`, one per seed."""
        if name == PAPER_MACS:
            return self.paper_macs
        found = [measure(run, name) for run in self.runs]
        return tuple(value for value in found if value is not None)

    def spread(self, name: str) -> Spread:
        """Mean and deviation over the seeds, of a measure other than `PAPER_MACS`."""
        found = spread(self.runs, name)
        assert found is not None, "completed runs have all measures"
        return found

    def mean(self, name: str) -> Reached:
        """Mean accuracy and mean price."""
        return Reached(fmean(self.prices("accuracy")), fmean(self.prices(name)))

    def of_seed(self, seed: int, name: str) -> Reached | None:
        """Accuracy and price of one seed; None if it was not run."""
        for run, accuracy, price in zip(
            self.runs, self.prices("accuracy"), self.prices(name), strict=True
        ):
            if run.spec.seed == seed:
                return Reached(accuracy, price)
        return None


@dataclass(frozen=True, slots=True)
class AtEqualAccuracy:
    """How many times less a method needs for the accuracy of a reference with `layers` layers.

    Attributes:
        accuracy: accuracy of the reference, mean over the seeds.
        ratio: price ratio of the mean curves; None if the method does not reach the accuracy.
        by_seed: the ratios of single seeds, each at the reference's accuracy with that seed.
    """

    layers: int
    accuracy: float
    ratio: float | None
    by_seed: tuple[float | None, ...]


def study_settings(
    store: RunStore, comparisons: Iterable[str], left_out: list[LeftOut] | None = None
) -> list[Setting]:
    """The settings of shipped comparisons, in the order of their first runs.

    Empty if the comparisons are not in the store.

    Args:
        left_out: a list to which runs that cannot be read are appended.
    """
    alike: dict[tuple[object, ...], list[tuple[RunRecord, float]]] = defaultdict(list)
    bad: list[LeftOut] = [] if left_out is None else left_out
    for comparison in comparisons:
        bad += store.unreadable(comparison)
        for run in store.comparison(comparison):
            if run.status != "completed":
                continue
            try:
                check_record(run)
                alike[_key(run)].append((run, paper_macs(store, run)))
            except (AsiError, ValidationError) as error:
                bad.append(LeftOut(run.id, comparison, f"{one_sentence(error):.200}".rstrip(".")))
    found = []
    for counted in alike.values():
        counted.sort(key=lambda pair: pair[0].spec.seed)
        runs, macs = zip(*counted, strict=True)
        layers, method = runs[0].spec.layers, runs[0].spec.method
        assert isinstance(layers, int), "runs of all layers are left out above"
        found.append(Setting(layers, method, runs, macs))
    return found


def series(settings: Iterable[Setting]) -> dict[str, list[Setting]]:
    """Settings of each method by number of trained layers, fewest first; without linear probes."""
    found: dict[str, list[Setting]] = defaultdict(list)
    for setting in settings:
        if setting.layers:
            found[label(setting)].append(setting)
    return {name: sorted(each, key=lambda s: s.layers) for name, each in found.items()}


def label(setting: Setting) -> str:
    """The method with its settings. Budgets are fractions of vanilla's bytes by formula."""
    if not setting.layers:
        return HEAD_LABEL
    method, spec = _as_labelled(setting.method), setting.runs[0].spec
    text = method.settings_label
    if isinstance(method, ASI) and method.budget_bytes is not None:
        share = f"{method.label}, planned for 1/{round(vanilla_bytes(spec) / method.budget_bytes)}"
        text = ", ".join((share, *method.algorithm))
    return f"{text}, momentum {spec.momentum:g}" if spec.momentum else text


def method_label(method: Method) -> str:
    """A method of the study with its settings."""
    return _as_labelled(method).settings_label


def _as_labelled(method: Method) -> Method:
    """Without the update at every step, which is that of all its runs."""
    if isinstance(method, SubspaceIteration) and method.update == "every_step":
        return method.model_copy(update={"update": type(method).model_fields["update"].default})
    return method


def vanilla_bytes(spec: RunSpec) -> int:
    """Bytes that vanilla keeps of the trained layers' inputs, by formula."""
    return step_cost(_shapes(spec), Vanilla(), "exact").activation_bytes


def at_equal_accuracy(
    reference: Sequence[Setting], method: Sequence[Setting], name: str
) -> list[AtEqualAccuracy]:
    """The ratio of lowest prices, reference over method, at each setting's accuracy."""
    seeds = sorted({run.spec.seed for setting in reference for run in setting.runs})

    def ratio(at: Setting, seed: int | None) -> float | None:
        def reached(curve: Sequence[Setting]) -> list[Reached]:
            points = (s.mean(name) if seed is None else s.of_seed(seed, name) for s in curve)
            return [point for point in points if point is not None]

        (target,) = reached([at]) or (None,)
        if target is None:
            return None
        theirs = price_of(target.accuracy, reached(reference))
        ours = price_of(target.accuracy, reached(method))
        return None if theirs is None or ours is None else theirs / ours

    return [
        AtEqualAccuracy(
            at.layers,
            at.mean(name).accuracy,
            ratio(at, None),
            tuple(ratio(at, seed) for seed in seeds),
        )
        for at in reference
    ]


def paper_macs(store: RunStore, run: RunRecord) -> float:
    """Multiply-accumulates of a step of the trained layers, in the paper's convention.

    If ranks depend on the data, it is the mean over the probed steps.

    Raises:
        InvalidRun: if the run was never probed, or its probes do not fit its model and method.
    """
    if run.spec.layers == 0:
        return 0.0
    if isinstance(run.spec.layers, str):
        raise InvalidRun(f"it trains {layer_count(run.spec.layers)}, but the study needs a number")
    shapes = _shapes(run.spec)
    found = []
    probes = [event for event in store.events(run.id, "probe") if isinstance(event, ProbeEvent)]
    check_probes(run.spec, probes)
    if not probes:
        raise InvalidRun("it was never probed")
    for event in probes:
        ranks = {layer.name: layer.ranks for layer in event.layers}
        found.append(step_cost(shapes, run.spec.method, "paper", ranks).macs.total)
    return fmean(found)


def _shapes(spec: RunSpec) -> Sequence[LayerShape]:
    return trained_layer_shapes(spec.model, spec.layers, spec.batch_size, spec.image_size)


def _key(run: RunRecord) -> tuple[object, ...]:
    """A key that is equal for runs that differ only in their seed."""
    return tuple(value for name, value in run.spec if name != "seed")
