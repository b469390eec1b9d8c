"""Activation Subspace Iteration (ICML 2025): a warm-started Tucker form of the input."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import model_validator

from asi_core import linalg
from asi_core.errors import InvalidInput
from asi_core.fields import Setting
from asi_core.methods import costs
from asi_core.methods.base import MethodStyle, Saved, WarmStart
from asi_core.methods.tucker_settings import TuckerMethod
from asi_core.records import Convention, Geometry, LayerShape, Macs, Ranks
from asi_core.units import format_bytes

if TYPE_CHECKING:
    from torch import Tensor

Bits = Literal[32, 16, 8]

_WARM, _COLD = 1, 2


class SubspaceIteration(TuckerMethod):
    """One subspace iteration per mode and step, warm-started from the previous step: what ASI and
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
            "which is far cheaper. Off iterates every mode on the full tensor, as published.",
        ),
    ] = True
    refresh_every: Annotated[
        int,
        Setting(
            "Refresh interval",
            "In steps. 1 iterates all factors at every step, as published. 4 iterates the channel, "
            "height and width factors at every fourth step only and projects on the previous ones "
            "in between: faster, at slightly lower energy. The batch factor is always iterated.",
            least=1,
            step=1,
            way_out="1 is every step",
            plural="refresh intervals",
        ),
    ] = 1
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
        message += [{32: "", 16: "half-precision factors", 8: "8 bits"}[self.bits]]
        return tuple(word for word in message if word)

    @property
    def _ranks_label(self) -> str:
        if self.budget_bytes is not None:
            return f"{self.label}, budget {format_bytes(self.budget_bytes)}"
        return super().settings_label

    def compress(
        self, x: Tensor, output_shape: tuple[int, ...], geometry: Geometry, memory: WarmStart
    ) -> Saved:
        ranks = costs.capped_ranks(self._ranks_for_step(x, memory), tuple(x.shape))
        tucker, reach = self._iterated(x, ranks, memory)
        if reach == 0 and memory.factors:
            # A stale subspace may miss a new input entirely, and would never recover.
            memory.factors, memory.age = {}, 0
            tucker, reach = self._iterated(x, ranks, memory)
        factors = tuple(None if f is None else self._stored(f) for f in tucker.factors)
        if reach == 0:
            memory.factors, memory.age = {}, 0
        elif isfinite(reach):
            memory.factors = {m: f for m, f in enumerate(factors) if f is not None}
            memory.age += 1
        if self.bits != 8:
            return (tucker.core, *factors)
        codes, steps = linalg.quantisation.offsets(tucker.core, _longest(tucker.core))
        return (codes, *factors, steps)

    def weight_gradient(
        self,
        saved: Saved,
        grad_output: Tensor,
        weight_shape: tuple[int, ...],
        geometry: Geometry,
    ) -> Tensor:
        if self.bits == 8:
            codes, *packed, steps = saved
            assert codes is not None
            assert steps is not None
            dtype = grad_output.dtype
            core = linalg.quantisation.from_offsets(codes, steps, _longest(codes), dtype)
            saved = (core, *packed)
        factors = (self._restored(factor, grad_output) for factor in saved[1:])
        return tucker_gradient((saved[0], *factors), grad_output, weight_shape, geometry)

    def factors(self, x: Tensor, memory: WarmStart) -> tuple[Tensor | None, ...]:
        return tuple(self._restored(memory.factors.get(mode), x) for mode in range(x.dim()))

    def ranks_of(self, saved: Saved) -> Ranks | None:
        return core_ranks(saved)

    def keeps_input(self, shape: LayerShape, ranks: Ranks | None) -> bool:
        return self.bits != 8 and super().keeps_input(shape, ranks)

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        ranks = ranks or self.ranks_for(shape)
        return costs.tucker_bytes(shape.input_shape, ranks, convention, self.bits)

    def macs(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> Macs:
        ranks = ranks or self.ranks_for(shape)
        if convention == "paper":
            overhead = costs.paper_subspace_overhead(
                shape.input_shape, ranks, refresh_every=self.refresh_every
            )
        else:
            overhead = costs.subspace_overhead(
                shape.input_shape,
                ranks,
                sequential=self.sequential,
                refresh_every=self.refresh_every,
            )
            if self.bits == 8:
                overhead += costs.rounding_overhead(shape.input_shape, ranks)
        return costs.tucker_step(shape, ranks, overhead, convention)

    def _iterated(
        self, x: Tensor, ranks: Ranks, memory: WarmStart
    ) -> tuple[linalg.tucker.Tucker, float]:
        """The Tucker form, from warm factors where they fit, and the core's largest magnitude.

        The magnitude is not finite if the input or a factor is not. It is 0 if the input is zero or
        the factors miss it, and 1 where nothing is iterated.
        """
        warm = {mode: self._restored(factor, x) for mode, factor in memory.factors.items()}
        start, iterations = _start(x, ranks, warm, memory.seed)
        if memory.is_repeated:
            iterations = [0 if count == _WARM else count for count in iterations]
        elif memory.age % self.refresh_every:
            iterations = [
                0 if mode and count == _WARM else count for mode, count in enumerate(iterations)
            ]
        tucker = linalg.tucker.subspace_tucker(
            x, start, sequential=self.sequential, iterations=iterations
        )
        if tucker.core is x:
            return tucker, 1.0
        # Taken from the core, which is small; a norm would overflow its type sooner.
        least, most = tucker.core.aminmax()
        return tucker, max(-float(least), float(most))

    def _stored(self, factor: Tensor) -> Tensor:
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
        "form, found by one warm-started subspace iteration per mode and step."
    )
    style: ClassVar[MethodStyle] = MethodStyle("#0072B2", "solid", "diamond")


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


def _longest(core: Tensor) -> int:
    """The mode along which the core's quantisation steps differ."""
    return core.shape.index(max(core.shape))


def _start(
    x: Tensor, ranks: Ranks, warm: Mapping[int, Tensor | None], seed: int
) -> tuple[list[Tensor | None], list[int]]:
    """The starting factor of each mode, and the number of iterations from it.

    A mode whose size or rank differs from the previous step (as in a smaller last batch) restarts
    from random orthonormal columns; the others continue warm.
    """
    start: list[Tensor | None] = []
    iterations = []
    for mode, (size, rank) in enumerate(zip(x.shape, ranks, strict=True)):
        factor = warm.get(mode)
        is_warm = factor is not None and tuple(factor.shape) == (size, rank)
        if rank == size:
            start.append(None)
        elif factor is not None and is_warm:
            start.append(factor)
        else:
            own = 8 * seed + mode
            start.append(linalg.unfolding.random_orthonormal(size, rank, own, like=x))
        iterations.append(_WARM if is_warm else _COLD)
    return start, iterations
