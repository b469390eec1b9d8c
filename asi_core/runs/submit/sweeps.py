"""Sweeps: one task trained with many settings, launched and shown as one comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from asi_core.errors import InvalidInput
from asi_core.fields import setting_fields
from asi_core.methods import ASI, METHODS, REFERENCE_KIND, Method, Vanilla, method_class
from asi_core.methods.registry import method_fields
from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.service import request_cancel, request_runs
from asi_core.training.spec import RunSpec

MOST_RUNS_OF_A_SWEEP = 40
_EARLIER = {
    "ranks": "ranks",
    "explained_variances": "explained_variance",
    "patches": "patch",
}
_REFERENCE = {"kind": REFERENCE_KIND}
# Fields of a run that can be varied in `Sweep.settings`.
_RUN_FIELDS = tuple(n for n in setting_fields(RunSpec) if n not in ("layers", "seed"))


class Sweep(BaseModel):
    """The settings that are varied; every combination is one run.

    Attributes:
        base: the fields that are the same in all runs; its method, layers and seed are ignored, as
            is its learning rate if it is the method's own: each method then has its own.
        methods: kinds of methods.
        settings: values of methods' settings and of other fields of a run, by name. A method is run
            at every combination of the settings that it has. Its alternatives (ranks, or an
            explained variance) are not combined with each other.
        layers: which layers are trained, as `RunSpec.layers` has it.
        references: whether to add vanilla and the linear probe, at all layers and seeds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: RunSpec = RunSpec(method=Vanilla())
    methods: tuple[str, ...] = (ASI.class_kind(),)
    settings: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    layers: tuple[int | str, ...] = (4,)
    seeds: tuple[int, ...] = (0,)
    references: bool = True

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, given: Any) -> Any:
        """Move three settings that were separate fields into `settings`."""
        if not isinstance(given, Mapping):
            return given
        old = {new: given[name] for name, new in _EARLIER.items() if name in given}
        others = {name: value for name, value in given.items() if name not in _EARLIER}
        return {**others, "settings": {**old, **given.get("settings", {})}} if old else others

    @field_validator("settings")
    @classmethod
    def _frozen(cls, settings: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        """Convert lists (ranks per mode from JSON) to tuples."""
        return {
            name: tuple(tuple(value) if isinstance(value, list) else value for value in values)
            for name, values in settings.items()
        }

    @model_validator(mode="after")
    def _varies_something(self) -> Self:
        for name in ("layers", "seeds"):
            if not getattr(self, name):
                raise InvalidInput(f"a sweep needs {name}", "none", "give at least one")
        for kind in self.methods:
            self._check_method(method_class(kind))
        known = {*_RUN_FIELDS, *method_fields()}
        if unknown := sorted(set(self.settings) - known):
            raise InvalidInput(
                "a sweep varies existing settings", ", ".join(unknown), "check their names"
            )
        return self

    def _check_method(self, method: type[Method]) -> None:
        fields, given = setting_fields(method), self.settings
        missing = [name for name in fields if name in given and not given[name]]
        if method.alternatives:
            has_one = any(given.get(name) for name in method.alternatives)
            missing = [] if has_one else list(method.alternatives)
        if missing:
            names = " or ".join(fields[name].setting.names for name in missing)
            raise InvalidInput(f"a sweep of {method.label} needs {names}", "none", "give one")

    def specs(self) -> list[RunSpec]:
        """All runs without duplicates; the references of a seed come before its other runs.

        Raises:
            InvalidInput, ValidationError: if a combination is invalid, or there are no or more than
                `MOST_RUNS_OF_A_SWEEP` runs.
        """
        specs = list(dict.fromkeys(self._combinations()))
        if not 1 <= len(specs) <= MOST_RUNS_OF_A_SWEEP:
            raise InvalidInput(
                f"a sweep must have 1 to {MOST_RUNS_OF_A_SWEEP} runs",
                len(specs),
                "choose fewer values, layers or seeds" if specs else "choose a method",
            )
        return specs

    def _combinations(self) -> Iterator[RunSpec]:
        for changes in _products(self.settings, [n for n in self.settings if n in _RUN_FIELDS]):
            for seed in self.seeds:
                for layers in self.layers:
                    if self.references:
                        yield self._spec(_REFERENCE, 0, seed, changes)
                        yield self._spec(_REFERENCE, layers, seed, changes)
                    for kind in self.methods:
                        for method in self._settings(METHODS[kind]):
                            yield self._spec({"kind": kind, **method}, layers, seed, changes)

    def _settings(self, method: type[Method]) -> Iterator[dict[str, Any]]:
        """The combinations of settings at which a method is run."""
        given = [name for name in setting_fields(method) if self.settings.get(name)]
        common = [name for name in given if name not in method.alternatives]
        if not method.alternatives:
            yield from _products(self.settings, common)
        for name in given:
            if name in method.alternatives:
                yield from _products(self.settings, [name, *common])

    def _spec(
        self,
        method: dict[str, Any],
        layers: int | str,
        seed: int,
        changes: dict[str, Any],
    ) -> RunSpec:
        own = {"learning_rate"} if self.base.has_own_rate else set()
        same = self.base.model_dump(exclude={"method", "layers", "seed", *own})
        return RunSpec.model_validate(
            {**same, **changes, "method": method, "layers": layers, "seed": seed}
        )


def _products(
    settings: Mapping[str, tuple[Any, ...]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Every combination of the values of some settings."""
    rows = product(*(settings[name] for name in names))
    return [dict(zip(names, row, strict=True)) for row in rows]


def request_sweep(store: RunStore, sweep: Sweep, owner: str) -> list[RunRecord]:
    """Queue a sweep as one comparison, if all of its runs can start.

    Raises:
        InvalidInput, ValidationError: as `Sweep.specs`.
        Refused, Unavailable: as `request_runs`.
    """
    return request_runs(store, sweep.specs(), owner, most=MOST_RUNS_OF_A_SWEEP)


def in_working_order(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs in the order of execution: linear probes last, as they reuse the frozen features
    that the others compute."""
    return sorted(runs, key=lambda run: run.spec.layers == 0)


def cancel_all(store: RunStore, comparison: str, owner: str | None = None) -> int:
    """Stop every active run of a comparison; returns how many.

    Raises:
        Refused: as `request_cancel`.
    """
    going = [run for run in store.comparison(comparison) if run.is_active]
    # In reverse order, so that a freed worker does not start the next of them.
    request_cancel(store, list(reversed(going)), owner)
    return len(going)
