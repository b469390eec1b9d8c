"""Sweeps: one task, trained under many settings, launched and followed as one comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from asi_core.errors import InvalidInput
from asi_core.methods import METHODS, Vanilla
from asi_core.records import Ranks
from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.service import request_cancel, request_runs
from asi_core.training.spec import RunSpec

MOST_RUNS_OF_A_SWEEP = 40


class Sweep(BaseModel):
    """What is varied; every combination is one run.

    Attributes:
        base: all that is the same in all runs; its method, layers and seed are not used.
        methods: kinds. Those with ranks are run at each of `ranks` and `explained_variances`,
            the gradient filter at each of `patches`.
        ranks: one number for all modes, or one a mode.
        layers: how many of the last layers are trained.
        references: whether vanilla and the classifier alone are run too, at all layers and seeds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: RunSpec = RunSpec(method=Vanilla())
    methods: tuple[str, ...] = ("asi",)
    ranks: tuple[int | Ranks, ...] = ()
    explained_variances: tuple[float, ...] = ()
    patches: tuple[int, ...] = (2,)
    layers: tuple[int | Literal["all"], ...] = (4,)
    seeds: tuple[int, ...] = (0,)
    references: bool = True

    @model_validator(mode="after")
    def _varies_something(self) -> Self:
        for name in ("layers", "seeds"):
            if not getattr(self, name):
                raise InvalidInput(f"a sweep needs {name}", "none", "give at least one")
        for kind in self.methods:
            if kind not in METHODS:
                known = ", ".join(METHODS)
                raise InvalidInput("method must be a known one", repr(kind), f"choose {known}")
            if not list(self._settings(kind)):
                by_patch = "patch" in METHODS[kind].model_fields
                what = "patches" if by_patch else "ranks or explained variances"
                rule = f"a sweep of {METHODS[kind].label} needs {what}"
                raise InvalidInput(rule, "none", "give at least one")
        return self

    def specs(self) -> list[RunSpec]:
        """All runs, each once, the references of a seed before what is measured against them.

        Raises:
            InvalidInput, ValidationError: if a combination is not allowed, or there are none or
                more than `MOST_RUNS_OF_A_SWEEP`.
        """
        specs = list(dict.fromkeys(self._combinations()))
        if not 1 <= len(specs) <= MOST_RUNS_OF_A_SWEEP:
            raise InvalidInput(
                f"a sweep must have 1 to {MOST_RUNS_OF_A_SWEEP} runs",
                len(specs),
                "take fewer values, layers or seeds" if specs else "choose a method",
            )
        return specs

    def _combinations(self) -> Iterator[RunSpec]:
        for seed in self.seeds:
            for layers in self.layers:
                if self.references:
                    yield self._spec({"kind": "vanilla"}, 0, seed)
                    yield self._spec({"kind": "vanilla"}, layers, seed)
                for kind in self.methods:
                    for method in self._settings(kind):
                        yield self._spec(method, layers, seed)

    def _settings(self, kind: str) -> Iterator[dict[str, Any]]:
        """The settings at which a method is run."""
        fields = METHODS[kind].model_fields
        if "ranks" in fields:
            yield from ({"kind": kind, "ranks": ranks} for ranks in self.ranks)
            for share in self.explained_variances:
                yield {"kind": kind, "explained_variance": share}
        elif "patch" in fields:
            yield from ({"kind": kind, "patch": patch} for patch in self.patches)
        else:
            yield {"kind": kind}

    def _spec(self, method: dict[str, Any], layers: int | Literal["all"], seed: int) -> RunSpec:
        same = self.base.model_dump(exclude={"method", "layers", "seed"})
        changes = {"method": method, "layers": layers, "seed": seed}
        return RunSpec.model_validate({**same, **changes})


def request_sweep(store: RunStore, sweep: Sweep, owner: str) -> list[RunRecord]:
    """Queue a sweep as one comparison, if all of its runs can start.

    Raises:
        As `Sweep.specs` and `request_runs`.
    """
    return request_runs(store, sweep.specs(), owner, most=MOST_RUNS_OF_A_SWEEP)


def in_working_order(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The order in which runs are best worked on: the classifiers alone last, for they go on from
    the frozen features that the others have computed."""
    return sorted(runs, key=lambda run: run.spec.layers == 0)


def cancel_all(store: RunStore, comparison: str, owner: str | None = None) -> int:
    """Stop every run of a comparison that has not ended; returns how many were asked to.

    Raises:
        As `request_cancel`.
    """
    going = [run for run in store.comparison(comparison) if run.is_active]
    # The last first: a place that becomes free must not be taken by the next of them.
    request_cancel(store, list(reversed(going)), owner)
    return len(going)
