"""What is alive at every moment of a step. No torch here: pages and stores read these records."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal, Self

from asi_core.errors import InvalidInput

Phase = Literal["forward", "backward", "update"]
Source = Literal["measured", "formula"]


class Category(StrEnum):
    """Why a storage is kept. If several apply, the first in this order counts."""

    TRAINED_INPUTS = "trained layer inputs"
    OTHER_INPUTS = "other layer inputs"
    ACTIVATIONS = "activation functions"
    NORMALISATION = "normalisation"
    POOLING = "pooling"
    HEAD_AND_LOSS = "head and loss"
    OTHER = "other"


class Use(StrEnum):
    """What memory is used for, besides what is kept for backward (`Category`)."""

    FROZEN_WEIGHTS = "frozen weights"
    TRAINED_WEIGHTS = "trained weights"
    OPTIMISER = "optimiser state"
    WARM_STARTS = "warm starts"
    BATCH = "batch"
    GRADIENTS = "weight gradients"
    TRANSIENT = "transient"
    INSIDE = "inside operators"


# In the order in which a chart stacks them; what is kept for backward lies between.
LASTING = (
    Use.FROZEN_WEIGHTS,
    Use.TRAINED_WEIGHTS,
    Use.OPTIMISER,
    Use.WARM_STARTS,
    Use.BATCH,
    Use.GRADIENTS,
)
PASSING = (Use.TRANSIENT, Use.INSIDE)


@dataclass(frozen=True, slots=True)
class Moment:
    """One operator of a step.

    Attributes:
        place: the module that runs, or whose gradient is computed.
        operator: PyTorch's name for it.
        inside_bytes: what it allocates and frees within, above what is alive at its end.
    """

    phase: Phase
    place: str
    operator: str
    inside_bytes: int


@dataclass(frozen=True, slots=True)
class Lifetime:
    """One storage.

    Attributes:
        use: a `Use`, or a `Category` of what is kept for backward.
        place: the module that made it.
        first: index of the moment that made it; -1 if it was there before the step.
        end: index of the first moment without it; the number of moments if it stays.
    """

    nbytes: int
    use: str
    place: str
    first: int
    end: int

    def is_alive(self, moment: int) -> bool:
        """Whether it is alive when the operator `moment` ends."""
        return self.first <= moment < self.end


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest level of a step.

    Attributes:
        nbytes: what the step adds to what was there before.
        index: of its moment in the timeline.
        moment: which operator, where.
        by_use: what the step adds by use, largest first; the values add up. A negative one is a
            use of which the step has released something that was there before.
        largest: the largest storages that are alive then and were not before.
    """

    nbytes: int
    index: int
    moment: Moment
    by_use: Mapping[str, int]
    largest: tuple[Lifetime, ...]


@dataclass(frozen=True)
class Timeline:
    """The memory of one training step.

    Attributes:
        source: whether it was measured, or computed from shapes alone.
        device: type of the device on which it ran, or for which it was computed.
        moments: the operators, in order.
        lifetimes: all storages that the step makes, and those that were there before.
    """

    source: Source
    device: str
    moments: tuple[Moment, ...]
    lifetimes: tuple[Lifetime, ...]

    @cached_property
    def base(self) -> dict[str, int]:
        """Bytes that are there before the step, by use."""
        return self._by_use(lambda lifetime: lifetime.first < 0)

    def levels(self, use: str | None = None) -> list[int]:
        """Bytes alive at each moment, for one use or for all together, those inside included."""
        changes = [0] * (len(self.moments) + 1)
        for lifetime in self.lifetimes:
            if use in (None, lifetime.use):
                changes[max(lifetime.first, 0)] += lifetime.nbytes
                changes[lifetime.end] -= lifetime.nbytes
        inside = [m.inside_bytes if use in (None, Use.INSIDE) else 0 for m in self.moments]
        return [level + i for level, i in zip(accumulate(changes), inside, strict=False)]

    @property
    def uses(self) -> list[str]:
        """The uses that occur, in the order in which a chart stacks them."""
        found = {lifetime.use for lifetime in self.lifetimes}
        if any(moment.inside_bytes for moment in self.moments):
            found.add(Use.INSIDE)
        kept = sorted(found - {*LASTING, *PASSING})
        return [str(u) for u in (*LASTING, *kept, *PASSING) if u in found]

    @cached_property
    def peak(self) -> Peak:
        """The highest level, and the first moment at which it is reached.

        Raises:
            InvalidInput: if the timeline has no moment.
        """
        if not self.moments:
            raise InvalidInput("a step must run an operator", "none", "let it compute something")
        levels = self.levels()
        highest = max(levels)
        index = levels.index(highest)
        alive = self._by_use(lambda lifetime: lifetime.is_alive(index))
        added = {use: alive.get(use, 0) - self.base.get(use, 0) for use in {*alive, *self.base}}
        added[Use.INSIDE] = self.moments[index].inside_bytes
        new = [one for one in self.lifetimes if one.first >= 0 and one.is_alive(index)]
        return Peak(
            nbytes=highest - sum(self.base.values()),
            index=index,
            moment=self.moments[index],
            by_use={str(u): n for u, n in sorted(added.items(), key=lambda item: -item[1]) if n},
            largest=tuple(sorted(new, key=lambda lifetime: -lifetime.nbytes)[:5]),
        )

    @property
    def kept_bytes(self) -> int:
        """What is kept for backward: the most that is alive of it at once."""
        return max(self._kept_levels(), default=0)

    def _kept_levels(self) -> list[int]:
        uses = [u for u in self.uses if u not in (*LASTING, *PASSING)]
        levels = [sum(at) for at in zip(*map(self.levels, uses), strict=True)]
        return levels or [0] * len(self.moments)

    def thinned(self, most: int) -> Self:
        """The same step with at most `most` moments, or three if that is more.

        The highest of each stretch of operators stays, and so do the peak and the moment at which
        the most is kept: what they say does not change. Storages that lived between two such
        moments are left out, and those with equal lives become one.
        """
        count = len(self.moments)
        if count <= most:
            return self
        total, kept = self.levels(), self._kept_levels()
        length = -(-count // max(most - 2, 1))
        chosen = {self.peak.index, kept.index(max(kept))}
        for start in range(0, count, length):
            chosen.add(max(range(start, min(start + length, count)), key=total.__getitem__))
        shown = sorted(chosen)
        merged: dict[tuple[str, str, int, int], int] = {}
        for life in self.lifetimes:
            first = -1 if life.first < 0 else bisect_left(shown, life.first)
            end = bisect_left(shown, life.end)
            if first < 0 or end > first:
                key = (life.use, life.place, first, end)
                merged[key] = merged.get(key, 0) + life.nbytes
        lifetimes = tuple(
            Lifetime(n, use, place, first, end) for (use, place, first, end), n in merged.items()
        )
        return replace(self, moments=tuple(self.moments[i] for i in shown), lifetimes=lifetimes)

    def _by_use(self, is_meant: Callable[[Lifetime], bool]) -> dict[str, int]:
        sums: dict[str, int] = {}
        for lifetime in self.lifetimes:
            if is_meant(lifetime):
                sums[lifetime.use] = sums.get(lifetime.use, 0) + lifetime.nbytes
        return sums

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it."""
        words = {word for m in self.moments for word in (m.phase, m.place, m.operator)}
        names = sorted(words | {word for life in self.lifetimes for word in (life.use, life.place)})
        number = {name: index for index, name in enumerate(names)}
        return {
            "source": self.source,
            "device": self.device,
            "names": names,
            "moments": [
                [number[m.phase], number[m.place], number[m.operator], m.inside_bytes]
                for m in self.moments
            ],
            "lifetimes": [
                [life.nbytes, number[life.use], number[life.place], life.first, life.end]
                for life in self.lifetimes
            ],
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """The timeline that `as_dict` wrote."""
        names: Sequence[Any] = found["names"]
        return cls(
            found["source"],
            found["device"],
            tuple(Moment(names[p], names[w], names[o], n) for p, w, o, n in found["moments"]),
            tuple(
                Lifetime(n, names[u], names[w], first, end)
                for n, u, w, first, end in found["lifetimes"]
            ),
        )
