"""What fits into a memory: the trained layers, micro-batch, method and ranks that lose least of the
gradient.

Settings of different numbers of layers are compared by one error: that of the weight gradients of
all layers that may be trained, as a share of their norm. A layer that stays frozen loses its whole
gradient. Exact methods lose nothing else; what others lose is measured on calibration batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any, Literal

from asi_core.costs.devices import DEVICES
from asi_core.costs.needs import Need
from asi_core.costs.timeline.records import Use
from asi_core.counting import ceil_div
from asi_core.errors import InvalidInput
from asi_core.layers.patterns import ALL
from asi_core.methods import METHODS, Method, Vanilla
from asi_core.planning import LayerProfile, budget_curve
from asi_core.records import Ranks
from asi_core.training.calibration import (
    Met,
    assign_ranks_,
    calibrate,
    exact_passes,
    gradient_errors,
)
from asi_core.training.features import FeaturePool, installed_pool
from asi_core.training.fit_result import Fitting, Setting
from asi_core.training.formula_memory import class_count, formula_need, least_need, step_macs
from asi_core.training.frozen_pass import FrozenPass
from asi_core.training.layout import laid_out
from asi_core.training.setup import TrainingSetup, default_device
from asi_core.training.spec import RunSpec
from asi_core.training.step import Clock, TrainingStep
from asi_core.zoo.shapes import trained_layer_shapes

# Plans of ranks that are tried under a budget, from the smallest to the whole input.
_PLANS = 9
# Fewer than a plan has, and one batch, as many layers are judged.
_SHARES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
# Factor between the micro-batches for which approximations are judged.
_STRIDE = 8
_TIMED = 3
# The setting that says for how many bytes ranks are planned.
_BUDGET = "budget_bytes"


def fit(
    spec: RunSpec,
    budget_bytes: int,
    *,
    least_layers: int = 1,
    methods: Iterable[Method | type[Method]] | None = None,
    frozen_in_flash: bool = True,
    macs_per_second: float | None = None,
    pool: FeaturePool | None = None,
) -> Fitting:
    """The setting with the least gradient error whose training needs at most `budget_bytes` at
    once; among equals the one with the fewest micro-batches in a step.

    Args:
        spec: what is trained and how. `layers` is the most that may be trained: so many of the
            last, or layers by name, of which the last are trained. The method and the micro-batch
            are chosen; early updates are chosen if that is needed.
        budget_bytes: the working memory.
        least_layers: of which at least so many are trained.
        methods: among which to choose; by default all whose gradient error is known: exact ones,
            those whose ranks can be planned, and those that approximate each input without ranks.
        frozen_in_flash: whether frozen weights lie elsewhere.
        macs_per_second: of the device, multiply-accumulates; by default a step is timed here.
        pool: frozen features, shared with other runs.

    Raises:
        InvalidInput: if the numbers of layers contradict each other, or a method is unsuitable.
        AsiError: if the specification cannot be set up.

    Example:
        >>> spec = RunSpec(model="mcunet_in1", method=Vanilla(), layers=4, batch_size=4)
        >>> found = fit(spec, 2**20)
        >>> found.fits, found.setting.spec.method.settings_label, found.total_bytes
    """
    search = _Search(spec, least_layers, methods, pool or installed_pool())
    found = search.best(budget_bytes, frozen_in_flash=frozen_in_flash)
    if found is None:
        return Fitting(budget_bytes, frozen_in_flash, False, search.smallest())
    device = next((d for d in DEVICES if d.budget_bytes > budget_bytes), None)
    larger = None
    if device is not None and (found.gradient_error or found.passes > 1):
        more = search.best(device.budget_bytes, frozen_in_flash=device.frozen_in_flash)
        larger = None if more is None else (device, more)
    if macs_per_second is None:
        seconds = _seconds_here(found, search.pool)
    else:
        seconds = step_macs(found.spec, ranks=found.ranks) / macs_per_second
    return Fitting(
        budget_bytes, frozen_in_flash, True, found, seconds, macs_per_second is None, larger
    )


class _Search:
    """The search for one specification; what it has computed serves several budgets."""

    def __init__(
        self,
        spec: RunSpec,
        least_layers: int,
        methods: Iterable[Method | type[Method]] | None,
        pool: FeaturePool,
    ) -> None:
        self.pool, self._in_flash = pool, True
        # How many of the last, or these layers by name, of which again the last are trained.
        most = trained_layer_shapes(spec.model, spec.layers, 1, spec.image_size)
        self._order = list(dict.fromkeys(shape.name for shape in most))
        self._is_named = isinstance(spec.layers, str) and spec.layers != ALL
        count = len(self._order)
        if not 1 <= least_layers <= count:
            raise InvalidInput(
                f"trained layers must be 1 to {count}, the most that may be trained",
                f"at least {least_layers}",
                "choose other numbers of layers",
            )
        self._classes = class_count(spec)
        # Plans must see the gradients that training has: those of exact layers.
        self._spec = spec.model_copy(update={"method": Vanilla()})
        self._counts = range(count, least_layers - 1, -1)
        self._names = {k: self._names_of_last(k) for k in self._counts}
        self._exact, self._planned, self._others = self._sorted(methods)
        self._needs: dict[Any, Need] = {}
        self._exact_passes: dict[int, Met] = {}
        self._profiles: dict[int, list[LayerProfile]] = {}
        self._errors: dict[Any, dict[str, float]] = {}

    def best(self, budget: int, *, frozen_in_flash: bool) -> Setting | None:
        """The best setting under a budget; None if nothing fits."""
        self._in_flash = frozen_in_flash
        best: Setting | None = None
        for count in self._counts:
            if best is not None and self._error_of(count, {}) >= _error(best):
                break
            exact = self._best_exact(count, budget)
            if exact is not None:
                return _better(best, exact)
            best = self._best_approximate(count, budget, best)
        return best

    def smallest(self) -> Setting:
        """The exact setting that needs least: what is missing."""
        count = min(self._counts)
        settings = [
            Setting(spec, self._need(spec, None), None)
            for method in self._exact or [Vanilla()]
            for size, early in ((1, False), (None, True))
            for spec in [self._with(count, method, size, early)]
        ]
        return min(settings, key=lambda s: s.need.total(frozen_in_flash=self._in_flash))

    # Exact methods --------------------------------------------------------------------------------

    def _best_exact(self, count: int, budget: int) -> Setting | None:
        """The exact setting with the largest micro-batch that fits."""
        found: Setting | None = None
        sizes = _powers(2, self._spec.batch_size)
        for method in self._exact:
            larger = [s for s in sizes if found is None or s > found.spec.pass_size]
            fitting = self._largest(count, method, larger, budget)
            if fitting is not None:
                error = self._error_of(count, dict.fromkeys(self._names[count], 0.0))
                found = replace(fitting, gradient_error=error)
        return found

    def _largest(
        self, count: int, method: Method, sizes: Sequence[int], budget: int
    ) -> Setting | None:
        def of_size(size: int) -> Setting | None:
            return self._if_fits(count, method, size, budget)

        if not sizes:
            return None
        # Mostly the whole batch fits, or not even the smallest part of it.
        if (whole := of_size(sizes[-1])) is not None:
            return whole
        if len(sizes) == 1 or (best := of_size(sizes[0])) is None:
            return None
        low, high = 1, len(sizes) - 1
        while low < high:
            middle = (low + high) // 2
            if (setting := of_size(sizes[middle])) is None:
                high = middle
            else:
                best, low = setting, middle + 1
        return best

    # Approximate methods --------------------------------------------------------------------------

    def _best_approximate(self, count: int, budget: int, best: Setting | None) -> Setting | None:
        """The best of `best` and all methods and micro-batches that fit."""
        *parts, whole = _powers(_STRIDE, self._spec.batch_size)
        methods: list[Method | type[Method]] = [*self._planned, *self._others]
        for method in methods:
            # Where one pass is a step, gradients need not wait for each other: it may fit although
            # a smaller micro-batch does not.
            for size in (whole, *parts):
                if isinstance(method, Method):
                    found = self._measured(count, method, size, budget)
                    fits = found is not None
                else:
                    fits = self._smallest_plan_fits(count, method, size, budget)
                    found = self._best_plan(count, method, size, budget, best) if fits else None
                if found is not None:
                    best = _better(best, found)
                if not fits and size != whole:
                    break
        return best

    def _measured(self, count: int, method: Method, size: int, budget: int) -> Setting | None:
        """A method without ranks, if it fits."""
        found = self._if_fits(count, method, size, budget)
        if found is None:
            return None
        error = self._error_of(count, self._errors_of(method, size), size)
        return replace(found, gradient_error=error)

    def _smallest_plan_fits(self, count: int, method: type[Method], size: int, budget: int) -> bool:
        least = {s.name: (1,) * len(s.input_shape) for s in self._shapes(count, size)}
        return self._if_fits(count, method(**{_BUDGET: 1}), size, budget, least) is not None

    def _best_plan(
        self, count: int, method: type[Method], size: int, budget: int, best: Setting | None
    ) -> Setting | None:
        """The plan of ranks with the least error that fits, if it is better than `best`."""
        profiles = [p for p in self._profiled(size) if p.name in self._names[count]]
        plans = budget_curve(profiles, _PLANS)
        errors = [
            self._error_of(count, {n: c.gradient_error for n, c in plan.layers}, size)
            for plan in plans
        ]
        passes = ceil_div(self._spec.batch_size, size)

        def setting_of(at: int) -> Setting | None:
            plan = plans[at]
            # Ranks say what is needed, whatever the budget is that they were planned for.
            found = self._if_fits(count, method(**{_BUDGET: 1}), size, budget, plan.ranks)
            if found is None:
                return None
            planned = method(**{_BUDGET: max(1, plan.total_bytes)})
            spec = found.spec.model_copy(update={"method": planned})
            return replace(found, spec=spec, gradient_error=errors[at])

        # Larger plans have smaller errors, and need more.
        worth = [at for at, e in enumerate(errors) if best is None or (e, passes) < _order(best)]
        found, low, high = None, 0, len(worth)
        # If the smallest that would be better does not fit, none does: mostly it is asked alone.
        middle = 0 if best is not None else high // 2
        while low < high:
            if (setting := setting_of(worth[middle])) is None:
                high = middle
            else:
                found, low = setting, middle + 1
            middle = (low + high) // 2
        return found

    # Facts ----------------------------------------------------------------------------------------

    def _if_fits(
        self,
        count: int,
        method: Method,
        size: int,
        budget: int,
        ranks: Mapping[str, Ranks] | None = None,
    ) -> Setting | None:
        """The setting with micro-batches of `size`, if it fits; with early updates if it must."""
        given = None if size == self._spec.batch_size else size
        spec = self._with(count, method, given, self._spec.apply_early)
        if least_need(spec, classes=self._classes, frozen_in_flash=self._in_flash) > budget:
            return None
        setting = Setting(spec, self._need(spec, ranks), None, ranks)
        over = setting.need.total(frozen_in_flash=self._in_flash) - budget
        gradients = setting.need.step.get(Use.GRADIENTS, 0)
        if over > 0 and given is None and not spec.apply_early and over <= gradients:
            spec = self._with(count, method, given, True)
            setting = Setting(spec, self._need(spec, ranks), None, ranks)
        fits = setting.need.fits(budget, frozen_in_flash=self._in_flash)
        return setting if fits else None

    def _with(self, count: int, method: Method, size: int | None, early: bool) -> RunSpec:
        given = dict(self._spec)
        if self._spec.has_own_rate:
            # Each method's own.
            del given["learning_rate"]
        layers = self._layers(count)
        changes = {"layers": layers, "method": method, "micro_batch": size, "apply_early": early}
        return RunSpec.model_validate({**given, **changes})

    def _need(self, spec: RunSpec, ranks: Mapping[str, Ranks] | None) -> Need:
        key = spec, None if ranks is None else tuple(sorted(ranks.items()))
        if key not in self._needs:
            self._needs[key] = formula_need(spec, ranks=ranks, classes=self._classes)
        return self._needs[key]

    def _profiled(self, size: int) -> list[LayerProfile]:
        if size not in self._profiles:
            method = self._planned[0](**{_BUDGET: 1}) if self._planned else Vanilla()
            spec = self._with(max(self._counts), method, size, False)
            self._profiles[size] = calibrate(
                spec, self.pool, batches=1, shares=_SHARES, exact=self._met(size)
            )
        return self._profiles[size]

    def _errors_of(self, method: Method, size: int) -> dict[str, float]:
        """Error of each layer's gradient under a method without ranks, measured."""
        if (method, size) not in self._errors:
            spec = self._with(max(self._counts), method, size, False)
            self._errors[method, size] = gradient_errors(
                spec, self.pool, batches=1, exact=self._met(size)
            )
        return self._errors[method, size]

    def _met(self, size: int) -> Met:
        """What all layers meet in one batch of `size` with exact gradients."""
        if size not in self._exact_passes:
            spec = self._with(max(self._counts), Vanilla(), size, False)
            self._exact_passes[size] = exact_passes(spec, self.pool, batches=1)
        return self._exact_passes[size]

    def _error_of(self, count: int, errors: Mapping[str, float], size: int | None = None) -> float:
        """The error of all layers that may be trained, if the last `count` have these errors.

        Args:
            errors: by layer; for those that are not trained, their gradient's norm counts.
            size: of the micro-batch at which errors were measured.
        """
        most = max(self._counts)
        if count == most and errors and not any(errors.values()):
            return 0.0
        trained = self._names[count]
        profiles = self._profiled(size or min(self._spec.batch_size, _STRIDE))
        norms = {profile.name: profile.gradient_norm or 0.0 for profile in profiles}
        lost = [errors.get(n, 0.0) if n in trained else norm for n, norm in norms.items()]
        whole = math.hypot(*norms.values())
        return math.hypot(*lost) / whole if whole else 0.0

    def _names_of_last(self, count: int) -> frozenset[str]:
        return frozenset(shape.name for shape in self._shapes(count, 1))

    def _layers(self, count: int) -> int | str:
        """The last `count` layers, as a specification names them."""
        return " ".join(self._order[-count:]) if self._is_named else count

    def _shapes(self, count: int, size: int) -> Sequence[Any]:
        spec = self._spec
        return trained_layer_shapes(spec.model, self._layers(count), size, spec.image_size)

    def _sorted(
        self, methods: Iterable[Method | type[Method]] | None
    ) -> tuple[list[Method], list[type[Method]], list[Method]]:
        """The methods by how their error is found: exact, by planning, by measuring."""
        given = list(METHODS.values()) if methods is None else list(methods)
        exact, planned, others = [], [], []
        shapes = self._shapes(max(self._counts), 1)
        for one in given:
            kind = one if isinstance(one, type) else type(one)
            method = one if isinstance(one, Method) else kind.usual()
            if methods is None and not _is_supported(method, shapes):
                continue
            match _known_error(method, shapes):
                case "exact":
                    exact.append(method)
                case "planned":
                    planned.append(kind)
                case "measured":
                    others.append(method)
                case None if methods is not None:
                    usual = [m.usual() for m in METHODS.values()]
                    suited = [m for m in usual if _is_supported(m, shapes)]
                    known = [m.label for m in suited if _known_error(m, shapes)]
                    raise InvalidInput(
                        "a method that fits must be exact, planned or without ranks, as its "
                        "gradient error must be known",
                        method.label,
                        f"choose among {', '.join(known)}",
                    )
        return exact, planned, others


def _known_error(
    method: Method, shapes: Sequence[Any]
) -> Literal["exact", "planned", "measured"] | None:
    """How a method's gradient error is found; None if it cannot be compared with others'."""
    if all(method.is_exact(shape) for shape in shapes) and method.memory_budget is None:
        return "exact"
    if method.has_ranks and _BUDGET in type(method).model_fields and method.adapter is None:
        return "planned"
    return "measured" if not method.has_ranks and _keeps_meaning(method) else None


def _keeps_meaning(method: Method) -> bool:
    """Whether its weight gradient is that of the layers' own weights, approximately."""
    own = method.adapter is None and not method.factors_weight and method.exact_forward
    return own and method.memory_budget is None


def _is_supported(method: Method, shapes: Sequence[Any]) -> bool:
    return all(
        method.why_unsupported_layer(s.geometry, tuple(s.weight_shape)) is None for s in shapes
    )


def _error(setting: Setting) -> float:
    return math.inf if setting.gradient_error is None else setting.gradient_error


def _better(best: Setting | None, found: Setting) -> Setting:
    return found if best is None or _order(found) < _order(best) else best


def _order(setting: Setting) -> tuple[float, int]:
    """Order of settings: least error, fewest passes."""
    return _error(setting), setting.passes


def _powers(base: int, most: int) -> list[int]:
    """Powers of `base` below `most`, and `most`."""
    found, size = [], 1
    while size < most:
        found.append(size)
        size *= base
    return [*found, most]


def _seconds_here(setting: Setting, pool: FeaturePool) -> float:
    """Seconds of one step on this machine: frozen forward passes image by image, and the step of
    the trained part, of which at most two micro-batches are timed."""
    whole = setting.spec
    spec = whole.model_copy(update={"batch_size": min(whole.batch_size, 2 * whole.pass_size)})
    setup = TrainingSetup(spec, pool, default_device())
    assign_ranks_(setup.tail, setting.ranks or {})
    frozen = None if setup.prefix is None else FrozenPass(setup.prefix, setup.layout)
    indices = next(setup.batches(0))
    image, labels = setup.images(indices[:1]), setup.train_labels[indices]
    clock, laps = Clock(setup.device), []
    for _ in range(_TIMED):
        values = (image,) if frozen is None else frozen(image)
        laps.append(clock.lap())
    # Which images they are makes no difference to the time.
    batch = tuple(laid_out(v.repeat_interleave(len(labels), 0), setup.layout) for v in values)
    step = TrainingStep(setup)
    for _ in range(spec.method.warm_up_steps):
        step(batch, labels, spec.learning_rate)
    seconds = dict(step(batch, labels, spec.learning_rate).seconds)
    update = seconds.pop("update")
    images = whole.batch_size * (0.0 if frozen is None else median(laps))
    return images + update + sum(seconds.values()) * whole.batch_size / spec.batch_size
