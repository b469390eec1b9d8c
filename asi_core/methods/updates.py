"""How ASI's factors follow the inputs: iterated at every step, one step late, or when needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Literal

from asi_core import linalg
from asi_core.linalg.orders import WATCHED_PARTS, part_of_batch
from asi_core.methods.base import WarmStart
from asi_core.records import Ranks

if TYPE_CHECKING:
    from torch import Tensor

    from asi_core.linalg.tucker import Tucker

Update = Literal["every_step", "one_step_late", "when_needed"]

_WARM, _COLD = 1, 2
# Steps after the random start at which factors are iterated in any case, and those at which they
# are when they no longer fit: one iteration does not find another subspace.
SETTLING_STEPS, _REPEATS = 4, 2
# Factors are iterated again below this share of the energy that they captured at their last
# iteration. In fine-tuning, an eighth of a batch of 64 differs from the whole by 0.01 to 0.02, and
# fixed factors lose 0.1 in 200 steps.
_STILL_FITS = 0.95


@dataclass(frozen=True, slots=True)
class Start:
    """Where a step's iteration starts.

    Attributes:
        factors: one size x rank matrix per mode; None for a mode at full rank.
        iterations: for each mode, from its factor.
        is_warm: whether the factor of each mode is that of the step before.
    """

    factors: Sequence[Tensor | None]
    iterations: Sequence[int]
    is_warm: Sequence[bool]

    def projecting(self, modes: Sequence[int]) -> Start:
        """The same, with warm factors of these modes left as they are."""
        counts = [
            0 if mode in modes and self.is_warm[mode] else count
            for mode, count in enumerate(self.iterations)
        ]
        return replace(self, iterations=counts)


@dataclass(frozen=True, slots=True)
class Step:
    """The form of one step's input, and what the next one starts with.

    Attributes:
        following: mode -> factor with which the next step starts, where it is not the form's.
        age, energy: as in `WarmStart`.
    """

    tucker: Tucker
    following: Mapping[int, Tensor]
    age: int
    energy: float | None = None


def start_of(x: Tensor, ranks: Ranks, warm: Mapping[int, Tensor | None], seed: int) -> Start:
    """The starting factor of each mode, and the number of iterations from it.

    A mode whose size or rank differs from the previous step (as in a smaller last batch) restarts
    from random orthonormal columns; the others continue warm.
    """
    factors: list[Tensor | None] = []
    is_warm = []
    for mode, (size, rank) in enumerate(zip(x.shape, ranks, strict=True)):
        factor = warm.get(mode)
        is_warm.append(factor is not None and tuple(factor.shape) == (size, rank))
        if rank == size:
            factor = None
        elif not is_warm[-1]:
            own = 8 * seed + mode
            factor = linalg.unfolding.random_orthonormal(size, rank, own, like=x)
        factors.append(factor)
    return Start(factors, [_WARM if warm else _COLD for warm in is_warm], is_warm)


def every_step(
    x: Tensor, start: Start, memory: WarmStart, *, sequential: bool, refresh_every: int
) -> Step:
    """All modes iterated; between refreshes only the batch's."""
    if memory.is_repeated:
        start = start.projecting(range(x.dim()))
    elif memory.age % refresh_every:
        start = start.projecting(range(1, x.dim()))
    tucker = linalg.tucker.subspace_tucker(
        x, start.factors, sequential=sequential, iterations=start.iterations
    )
    return Step(tucker, {}, memory.age + 1)


def one_step_late(x: Tensor, start: Start, memory: WarmStart, channel: int) -> Step:
    """The channels projected on the factor of the step before, and iterated for the next one."""
    if start.factors[channel] is None:
        return every_step(x, start, memory, sequential=True, refresh_every=1)
    start = start.projecting(range(x.dim()) if memory.is_repeated else [channel])
    tucker, following = linalg.updates.late_tucker(
        x, start.factors, channel, iterations=start.iterations, turn=memory.age
    )
    return Step(tucker, {channel: following}, memory.age + 1)


def when_needed(x: Tensor, start: Start, memory: WarmStart) -> Step:
    """The batch iterated on what the other factors leave; those iterated if they no longer fit.

    Whether they fit shows on a part of the batch, and counts from the next step on.
    """
    is_due = memory.age < SETTLING_STEPS
    if memory.is_repeated:
        start = start.projecting(range(x.dim()))
    elif not is_due:
        start = start.projecting(range(1, x.dim()))
    tucker, projected = linalg.updates.batch_last_tucker(
        x, start.factors, iterations=start.iterations
    )
    if memory.is_repeated:
        return Step(tucker, {}, memory.age, memory.energy)
    others = zip(start.factors[1:], start.is_warm[1:], strict=True)
    if not all(is_warm for factor, is_warm in others if factor is not None):
        return Step(tucker, {}, 1)
    part = slice(None) if is_due else part_of_batch(len(x), WATCHED_PARTS, memory.age)
    share = linalg.updates.captured_share(x, projected, part)
    if is_due or memory.energy is None:
        return Step(tucker, {}, memory.age + 1, share if isfinite(share) else None)
    fits = not share < _STILL_FITS * memory.energy
    age = memory.age + 1 if fits else SETTLING_STEPS - _REPEATS
    return Step(tucker, {}, age, memory.energy)
