"""Activation Subspace Iteration (ICML 2025): a warm-started Tucker form of the input."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ValidationError, model_validator

from asi_core import linalg
from asi_core.errors import InvalidInput
from asi_core.fields import Setting
from asi_core.methods import costs
from asi_core.methods.base import MethodStyle, Saved, WarmStart
from asi_core.methods.tucker_settings import TuckerMethod
from asi_core.methods.updates import (
    SETTLING_STEPS,
    Step,
    Update,
    every_step,
    one_step_late,
    start_of,
    when_needed,
)
from asi_core.records import Convention, Geometry, LayerShape, Macs, Ranks
from asi_core.units import format_bytes

if TYPE_CHECKING:
    from torch import Tensor

Bits = Literal[32, 16, 8]

_UPDATED: Mapping[Update, str] = {
    "when_needed": "",
    "every_step": "every step",
    "one_step_late": "updated one step late",
}


class _Others(BaseModel):
    """The settings that may imply an update at every step."""

    sequential: bool = True
    refresh_every: int = 1


class SubspaceIteration(TuckerMethod):
    """Subspace iterations of each mode, warm-started from the previous step: what ASI and
    the methods that are built on it share.

    Given ranks are capped at every step to what the batch allows. Ranks from an explained variance
    are found once, on the first batch that is finite and not all zero, however small it is: later,
    larger batches get no higher ranks. A batch that is not finite leaves the warm start unchanged;
    an all-zero batch resets it.

    Attributes:
        sequential: iterate each mode on the tensor that the previous modes have already reduced;
            False is the paper's algorithm, which iterates every mode on the full tensor.
        refresh_every: iterate all modes except the batch mode only at every n-th step, and project
            on the previous factors in between: cheaper, at slightly lower captured energy. The
            batch mode is iterated at every step, because its images are new.
        update: when the factors are iterated. "when_needed" leaves all factors but the batch's as
            they are after a few steps, until they capture less than 0.95 of the share of the energy
            that they captured when they were last iterated: it is watched on an eighth of the
            batch, and factors that no longer fit are iterated in the next two steps. "every_step"
            is as published, and the default beside `sequential=False` or a refresh interval.
            "one_step_late" projects the channels on their factor of the step before, and iterates
            it for the next step on a quarter of the batch, of which the quarters take turns; the
            other modes are iterated on what is left. Two channel factors are kept.
        bits: per stored number. 32 is single precision. 16 stores the factors, which are
            orthonormal and the larger part at small ranks, in half precision, and the core in
            single. 8 quantises both, with one scale per column of a factor and one per index of
            the core's longest mode.
        budget_bytes: memory limit for all trained layers together; the ranks of each layer are
            planned on calibration batches (`planning`) instead of being given or found from an
            explained variance.
    """

    alternatives: ClassVar[tuple[str, ...]] = (*TuckerMethod.alternatives, "budget_bytes")
    sequential: Annotated[
        bool,
        Setting(
            "One mode after the other",
            "Each mode is iterated on the tensor that the previous modes have already reduced, "
            "which is far cheaper. Off iterates every mode on the full tensor, at every step, as "
            "published.",
        ),
    ] = True
    refresh_every: Annotated[
        int,
        Setting(
            "Refresh interval",
            "In steps; more than 1 is for factors that are updated every step. 4 iterates channel, "
            "height and width factors at every fourth step only and projects on the previous ones "
            "in between: faster, at slightly lower energy. The batch factor is always iterated.",
            least=1,
            step=1,
            way_out="1 has no interval",
            plural="refresh intervals",
        ),
    ] = 1
    update: Annotated[
        Update,
        Setting(
            "Factor update",
            "When needed keeps all factors but the batch's until they capture less energy. Every "
            "step, as published, reads the input several times; the others read it once. One step "
            "late projects the channels on the factor of the step before. A refresh interval, or "
            "modes that are not iterated one after the other, imply every step.",
            choices={
                "when_needed": "when needed",
                "every_step": "every step",
                "one_step_late": "one step late",
            },
        ),
    ] = "when_needed"
    bits: Annotated[
        Bits,
        Setting(
            "Bits per stored number",
            "32 is single precision, as published. 16 stores the factors, the larger part at small "
            "ranks, in half precision. 8 quantises factors and core: four times the ranks fit into "
            "the same memory.",
            choices={32: "32", 16: "16 (factors)", 8: "8"},
            plural="bits",
        ),
    ] = 32
    budget_bytes: Annotated[
        int | None,
        Setting(
            "Budget",
            "Memory limit for the stored inputs of all trained layers together; the ranks of each "
            "layer are planned for it.",
            least=1,
            unit="bytes",
            way_out="raise it",
        ),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, given: Any) -> Any:
        """Convert `half_factors` of earlier versions to `bits`."""
        if isinstance(given, Mapping) and "half_factors" in given:
            others = {name: value for name, value in given.items() if name != "half_factors"}
            return {"bits": 16, **others} if given["half_factors"] else others
        return given

    @model_validator(mode="before")
    @classmethod
    def _implied_update(cls, given: Any) -> Any:
        """Settings that only an update at every step has imply it."""
        if not isinstance(given, Mapping) or "update" in given:
            return given
        try:
            others = _Others.model_validate(given)
        except ValidationError:
            # The fields' own validation says what is wrong.
            return given
        is_implied = not others.sequential or others.refresh_every > 1
        return {**given, "update": "every_step"} if is_implied else given

    @property
    def _implies_update(self) -> bool:
        return not self.sequential or self.refresh_every > 1

    @model_validator(mode="after")
    def _one_update(self) -> Self:
        if self.update != "every_step" and self._implies_update:
            raise InvalidInput(
                "factors that are updated one step late or when needed are iterated one mode after "
                "the other, without a refresh interval",
                "not sequential" if not self.sequential else f"{self.refresh_every} steps",
                'set update to "every_step", or leave out the other setting',
            )
        return self

    @property
    def settings_label(self) -> str:
        return ", ".join((self._ranks_label, *self.algorithm))

    @property
    def memory_budget(self) -> int | None:
        return self.budget_bytes

    @property
    def algorithm(self) -> tuple[str, ...]:
        """The settings besides the ranks that differ from their defaults, in words."""
        every = self.refresh_every
        message = ["" if self.sequential else "not sequential"]
        message += ["" if every == 1 else f"refreshed every {every} steps"]
        message += ["" if self._implies_update else _UPDATED[self.update]]
        message += [{32: "", 16: "half-precision factors", 8: "8 bits"}[self.bits]]
        return tuple(word for word in message if word)

    @property
    def _ranks_label(self) -> str:
        if self.budget_bytes is not None:
            return f"{self.label}, budget {format_bytes(self.budget_bytes)}"
        return super().settings_label

    @property
    def warm_up_steps(self) -> int:
        return SETTLING_STEPS + 1 if self.update == "when_needed" else super().warm_up_steps

    def compress(
        self, x: Tensor, output_shape: tuple[int, ...], geometry: Geometry, memory: WarmStart
    ) -> Saved:
        ranks = costs.capped_ranks(self._ranks_for_step(x, memory), tuple(x.shape))
        channel = geometry.channel_mode(x.dim())
        step, stored = self._step(x, ranks, channel, memory)
        reach = _reach(x, step)
        if reach == 0 and memory.factors:
            # A stale subspace may miss a new input entirely, and would never recover.
            memory.forget()
            step, stored = self._step(x, ranks, channel, memory)
            reach = _reach(x, step)
        following = {mode: self._packed(factor) for mode, factor in step.following.items()}
        if reach == 0:
            memory.forget()
        elif isfinite(reach):
            memory.factors = {m: f for m, f in enumerate(stored) if f is not None} | following
            memory.used = {m: f for m, f in enumerate(stored) if m in following and f is not None}
            memory.energy, memory.age = step.energy, step.age
        # The next step's factors have no use in backward, but are there until then.
        if self.bits != 8:
            return (step.tucker.core, *stored, *following.values())
        core = step.tucker.core
        codes, steps = linalg.quantisation.offsets(core, _longest(core))
        return (codes, *stored, steps, *following.values())

    def weight_gradient(
        self,
        saved: Saved,
        grad_output: Tensor,
        weight_shape: tuple[int, ...],
        geometry: Geometry,
    ) -> Tensor:
        core, *others = saved
        assert core is not None
        packed = others[: core.dim()]
        if self.bits == 8:
            steps = others[core.dim()]
            assert steps is not None
            dtype = grad_output.dtype
            core = linalg.quantisation.from_offsets(core, steps, _longest(core), dtype)
        factors = (self._restored(factor, grad_output) for factor in packed)
        return tucker_gradient((core, *factors), grad_output, weight_shape, geometry)

    def factors(self, x: Tensor, memory: WarmStart) -> tuple[Tensor | None, ...]:
        used = memory.factors | memory.used
        return tuple(self._restored(used.get(mode), x) for mode in range(x.dim()))

    def ranks_of(self, saved: Saved) -> Ranks | None:
        return core_ranks(saved)

    def keeps_input(self, shape: LayerShape, ranks: Ranks | None) -> bool:
        return self.bits != 8 and super().keeps_input(shape, ranks)

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        ranks, channel = ranks or self.ranks_for(shape), shape.channel_mode
        form = costs.tucker_bytes(shape.input_shape, ranks, convention, self.bits)
        if self.update != "one_step_late" or ranks[channel] == shape.input_shape[channel]:
            return form
        size, rank = shape.input_shape[channel], ranks[channel]
        return form + costs.factor_bytes(size, rank, convention, self.bits)

    def macs(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> Macs:
        ranks = ranks or self.ranks_for(shape)
        overhead = self._overhead(shape, ranks, convention)
        if self.bits == 8 and convention == "exact":
            overhead += costs.rounding_overhead(
                shape.input_shape, ranks, batch_only=self.update == "when_needed"
            )
        return costs.tucker_step(shape, ranks, overhead, convention)

    def _overhead(self, shape: LayerShape, ranks: Ranks, convention: Convention) -> int:
        """Of the compression. Iterations after the first steps, if there are any when needed, are
        not counted."""
        sizes, channel = shape.input_shape, shape.channel_mode
        is_paper, every = convention == "paper", self.refresh_every
        match self.update:
            case "one_step_late" if is_paper:
                return costs.paper_late_overhead(sizes, ranks, channel)
            case "one_step_late":
                return costs.late_overhead(sizes, ranks, channel)
            case "when_needed" if is_paper:
                return costs.paper_subspace_overhead(sizes, ranks, modes=(0,))
            case "when_needed":
                return costs.batch_last_overhead(sizes, ranks)
            case _ if is_paper:
                return costs.paper_subspace_overhead(sizes, ranks, refresh_every=every)
        return costs.subspace_overhead(
            sizes, ranks, sequential=self.sequential, refresh_every=every
        )

    def _step(
        self, x: Tensor, ranks: Ranks, channel: int, memory: WarmStart
    ) -> tuple[Step, tuple[Tensor | None, ...]]:
        """The step's form, from warm factors where they fit, and its factors as they are stored."""
        stored = memory.factors | (memory.used if memory.is_repeated else {})
        warm = {mode: self._restored(factor, x) for mode, factor in stored.items()}
        start = start_of(x, ranks, warm, memory.seed)
        match self.update:
            case "one_step_late":
                step = one_step_late(x, start, memory, channel)
            case "when_needed":
                step = when_needed(x, start, memory)
            case _:
                every = self.refresh_every
                step = every_step(x, start, memory, sequential=self.sequential, refresh_every=every)

        def as_stored(mode: int, factor: Tensor | None) -> Tensor | None:
            if factor is None or factor is not warm.get(mode):
                return None if factor is None else self._packed(factor)
            # Not iterated, so stored already.
            return stored[mode]

        return step, tuple(map(as_stored, range(x.dim()), step.tucker.factors))

    def _packed(self, factor: Tensor) -> Tensor:
        """The factor as it is stored, also for the next step, so that there is only one copy."""
        match self.bits:
            case 16:
                return factor.half()
            case 8:
                return linalg.quantisation.packed(factor)
        return factor

    def _restored(self, factor: Tensor | None, like: Tensor) -> Tensor | None:
        """A stored factor, in whatever precision, in the type of `like`."""
        if factor is None or factor.is_floating_point():
            return None if factor is None else factor.to(like)
        return linalg.quantisation.unpacked(factor.to(like.device), like.dtype)

    def _ranks_for_step(self, x: Tensor, memory: WarmStart) -> int | Ranks:
        if self.ranks is not None:
            return self.ranks
        if memory.ranks is not None:
            return memory.ranks
        if self.explained_variance is None:
            raise InvalidInput(
                "the ranks for a budget must be planned before the first step",
                f"{self.budget_bytes} bytes for a layer without ranks",
                "train with fine_tune, or set the ranks that asi_core.planning.plan returns",
            )
        if not (bool(x.isfinite().all()) and bool(x.any())):
            return 1
        found = linalg.spectra.ranks_for_energy(x, self.explained_variance)
        memory.ranks = costs.ranks_below_input(found, tuple(x.shape))
        return memory.ranks


class ASI(SubspaceIteration):
    """Keeps each input as a Tucker form: see `SubspaceIteration` for its settings."""

    kind: Literal["asi"] = "asi"
    label: ClassVar[str] = "ASI"
    summary: ClassVar[str] = (
        "Activation Subspace Iteration (ICML 2025): keeps each trained layer's input in Tucker "
        "form, found by warm-started subspace iterations of its modes."
    )
    style: ClassVar[MethodStyle] = MethodStyle("#0072B2", "solid", "diamond")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        updates = ({"ranks": 2, "update": update} for update in _UPDATED)
        return (*super().examples(), *map(cls.model_validate, updates))


def tucker_gradient(
    saved: Saved, grad_output: Tensor, weight_shape: tuple[int, ...], geometry: Geometry
) -> Tensor:
    """Weight gradient from a saved core and its factors, in the compressed space."""
    core, *factors = saved
    assert core is not None
    tucker = linalg.tucker.Tucker(core, tuple(factors))
    return linalg.gradients.tucker_weight_gradient(tucker, grad_output, weight_shape, geometry)


def core_ranks(saved: Saved) -> Ranks:
    """The multilinear rank of a saved Tucker form: its core's shape."""
    core = saved[0]
    assert core is not None
    return tuple(core.shape)


def _reach(x: Tensor, step: Step) -> float:
    """The core's largest magnitude: not finite if the input or a factor is not, 0 if the input is
    zero or the factors miss it, and 1 where nothing is iterated."""
    core = step.tucker.core
    if core is x:
        return 1.0
    # Taken from the core, which is small; a norm would overflow its type sooner.
    least, most = core.aminmax()
    return max(-float(least), float(most))


def _longest(core: Tensor) -> int:
    """The mode along which the core's quantisation steps differ."""
    return core.shape.index(max(core.shape))
