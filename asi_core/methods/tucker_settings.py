"""Settings that all methods with multilinear ranks share."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import field_validator, model_validator

from asi_core.errors import InvalidInput
from asi_core.methods.base import Method
from asi_core.methods.costs import capped_ranks
from asi_core.records import LayerShape, Ranks


class TuckerMethod(Method):
    """A method whose ranks are given, or found from an explained variance.

    Attributes:
        ranks: one number for all modes, or one a mode (batch, channel, height, width).
        explained_variance: share of each unfolding's energy that the ranks keep, 0 to 1.
    """

    ranks: int | Ranks | None = None
    explained_variance: float | None = None

    @field_validator("ranks")
    @classmethod
    def _positive_ranks(cls, ranks: int | Ranks | None) -> int | Ranks | None:
        many = (ranks,) if isinstance(ranks, int) else ranks
        if many == ():
            raise InvalidInput("ranks must be one number, or one a mode", "none", "give at least 1")
        for rank in many or ():
            if rank < 1:
                raise InvalidInput("rank must be at least 1", rank, "choose 1 or more")
        return ranks

    @field_validator("explained_variance")
    @classmethod
    def _a_share(cls, share: float | None) -> float | None:
        if share is not None and not 0 < share <= 1:
            raise InvalidInput("explained variance must be above 0 and at most 1", share, "try 0.8")
        return share

    # Fields of which exactly one says where the ranks come from, and what each is called.
    _sources: ClassVar[dict[str, str]] = {
        "ranks": "ranks",
        "explained_variance": "an explained variance",
    }

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for field, name in self._sources.items() if getattr(self, field) is not None]
        if len(given) != 1:
            raise InvalidInput(
                f"{self.label} needs either {' or '.join(self._sources.values())}",
                " and ".join(given) or "neither",
                "give one of them",
            )
        return self

    @property
    def settings_label(self) -> str:
        if self.explained_variance is not None:
            return f"{self.label}, {100 * self.explained_variance:g} % variance"
        ranks = self.ranks if isinstance(self.ranks, tuple) else (self.ranks,)
        return f"{self.label}, rank {'·'.join(map(str, ranks))}"

    def keeps_input(self, shape: LayerShape, ranks: Ranks | None) -> bool:
        # All of every mode: the core is the input, and there are no factors.
        return (ranks or self.ranks_for(shape)) == shape.input_shape

    def ranks_for(self, shape: LayerShape) -> Ranks:
        if self.ranks is None:
            raise InvalidInput(
                "ranks that are found or planned depend on the data",
                self.settings_label,
                "give ranks instead, or run a training or a measurement",
            )
        return capped_ranks(self.ranks, shape.input_shape)
