"""What training a network needs at once, and whether it fits. No torch here: pages read this.

Two things take turns: the frozen part's forward pass, image by image, and the step of the trained
part. The larger of them is needed, above what lies there all the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from asi_core.costs.timeline.records import Source, Timeline, Use

# What lies there all the time, in the order in which it is listed.
ALWAYS = (Use.TRAINED_WEIGHTS, Use.OPTIMISER, Use.WARM_STARTS)


@dataclass(frozen=True, slots=True)
class Need:
    """The memory that training needs at once, in bytes.

    Attributes:
        source: whether it was measured or computed from shapes alone.
        always: what lies there all the time, by use; without frozen weights.
        batch: what the trained part reads of one micro-batch.
        gradients: what the frozen pass finds there of earlier micro-batches' gradients.
        frozen_pass: the most that the frozen part's forward pass of one image takes, the image
            included; 0 if there is no frozen part.
        step: the most that the trained part's passes and the update add, by use.
        frozen_weights: weights that nothing writes to: a microcontroller reads them from flash.
    """

    source: Source
    always: Mapping[str, int]
    batch: int
    gradients: int
    frozen_pass: int
    step: Mapping[str, int]
    frozen_weights: int

    @property
    def frozen_is_larger(self) -> bool:
        """Whether the frozen pass takes more than the step."""
        return self.gradients + self.frozen_pass > sum(self.step.values())

    @property
    def breakdown(self) -> dict[str, int]:
        """What is there at the worst moment, by use, without frozen weights; largest first."""
        found = {**self.always, str(Use.BATCH): self.batch}
        at_peak = (
            {str(Use.GRADIENTS): self.gradients, FROZEN_FORWARD: self.frozen_pass}
            if self.frozen_is_larger
            else self.step
        )
        for use, nbytes in at_peak.items():
            found[use] = found.get(use, 0) + nbytes
        return {u: n for u, n in sorted(found.items(), key=lambda item: -item[1]) if n}

    def total(self, *, frozen_in_flash: bool) -> int:
        """All that must be in working memory at once.

        Args:
            frozen_in_flash: whether frozen weights lie elsewhere.
        """
        return sum(self.breakdown.values()) + (0 if frozen_in_flash else self.frozen_weights)

    def fits(self, budget_bytes: int, *, frozen_in_flash: bool) -> bool:
        """Whether the total is within a budget: the one meaning of "fits" everywhere."""
        return self.total(frozen_in_flash=frozen_in_flash) <= budget_bytes

    @classmethod
    def of(cls, step: Timeline, frozen: Timeline | None, *, accumulates: bool) -> Self:
        """From the timelines of a step's last micro-batch, and of one image's frozen pass.

        Args:
            accumulates: whether the step has micro-batches before it, which leave gradients.
        """
        base = step.base
        trained = base.get(Use.TRAINED_WEIGHTS, 0)
        return cls(
            source=step.source,
            always={str(use): base[use] for use in ALWAYS if base.get(use)},
            batch=base.get(Use.BATCH, 0),
            gradients=trained if accumulates and frozen is not None else 0,
            frozen_pass=0 if frozen is None else frozen.peak.nbytes + frozen.base[Use.BATCH],
            step=dict(step.peak.by_use),
            frozen_weights=base.get(Use.FROZEN_WEIGHTS, 0)
            + (0 if frozen is None else frozen.base.get(Use.FROZEN_WEIGHTS, 0)),
        )

    @classmethod
    def of_whole(cls, whole: Timeline, *, elsewhere: int) -> Self:
        """From the timeline of a whole step, frozen passes included.

        Args:
            elsewhere: bytes of images and labels that are there before the step and do not count,
                because they are read one by one.
        """
        base = whole.base
        return cls(
            source=whole.source,
            always={str(use): base[use] for use in ALWAYS if base.get(use)},
            batch=base.get(Use.BATCH, 0) - elsewhere,
            gradients=0,
            frozen_pass=0,
            step=dict(whole.peak.by_use),
            frozen_weights=base.get(Use.FROZEN_WEIGHTS, 0),
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it."""
        return {
            **asdict(self),
            "total_bytes": self.total(frozen_in_flash=True),
            "breakdown": self.breakdown,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """The need that `as_dict` wrote."""
        return cls(**{name: found[name] for name in cls.__slots__})


# How the breakdown names what the frozen part's pass takes.
FROZEN_FORWARD = "frozen forward pass"
