"""Settings that all methods with multilinear ranks share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import field_validator, model_validator

from asi_core.errors import InvalidInput
from asi_core.fields import Setting, setting_fields
from asi_core.methods.base import Method
from asi_core.methods.costs import capped_ranks
from asi_core.records import LayerShape, Ranks

# The default explained variance from which ranks are found.
USUAL_EXPLAINED_VARIANCE = 0.8
# The default ranks at which costs are compared: batch, channel, height and width.
USUAL_RANKS = (16, 32, 4, 4)


class TuckerMethod(Method):
    """A method whose ranks are given, or found from an explained variance.

    Attributes:
        ranks: one number for all modes, or one per mode (batch, channel, height, width).
        explained_variance: share of each unfolding's energy that the ranks keep, 0 to 1.
    """

    alternatives: ClassVar[tuple[str, ...]] = ("explained_variance", "ranks")
    ranks: Annotated[
        int | Ranks | None,
        Setting(
            "Rank",
            "Number of singular directions to keep: one number for all modes, or one per mode. A "
            "rank above a mode's size keeps all of it.",
            least=1,
            step=1,
            slider=(1, 64),
            usual=USUAL_RANKS,
        ),
    ] = None
    explained_variance: Annotated[
        float | None,
        Setting(
            "Explained variance",
            "Share of each mode's energy (the sum of squared singular values) that the ranks keep. "
            "ASI chooses them once, HOSVD at every step.",
            above=0,
            most=1,
            step=0.01,
            slider=(0.05, 1.0),
            way_out=f"try {USUAL_EXPLAINED_VARIANCE}",
            usual=USUAL_EXPLAINED_VARIANCE,
            axis=(0.4, 0.6, 0.8, 0.9),
        ),
    ] = None

    @field_validator("ranks")
    @classmethod
    def _some_ranks(cls, ranks: int | Ranks | None) -> int | Ranks | None:
        if ranks == ():
            raise InvalidInput(
                "ranks must be one number, or one per mode", "none", "give at least 1"
            )
        return ranks

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        fields = setting_fields(type(self))
        names = {name: fields[name].setting.name for name in self.alternatives}
        given = [name for field, name in names.items() if getattr(self, field) is not None]
        if len(given) != 1:
            raise InvalidInput(
                f"{self.label} needs exactly one of {', '.join(names.values())}",
                " and ".join(given) or "none of them",
                "give one",
            )
        return self

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        settings = ({"ranks": 2}, {"ranks": 1000}, {"explained_variance": 1.0})
        return tuple(cls.model_validate(given) for given in settings)

    def is_exact(self, shape: LayerShape) -> bool:
        all_of_it = capped_ranks(1000, shape.input_shape)
        return self.explained_variance == 1 or (
            self.ranks is not None and self.ranks_for(shape) == all_of_it
        )

    @property
    def settings_label(self) -> str:
        if self.explained_variance is not None:
            return f"{self.label}, {100 * self.explained_variance:g} % variance"
        ranks = self.ranks if isinstance(self.ranks, tuple) else (self.ranks,)
        return f"{self.label}, rank {'·'.join(map(str, ranks))}"

    @property
    def depends_on_images(self) -> bool:
        return self.ranks is None

    def keeps_input(self, shape: LayerShape, ranks: Ranks | None) -> bool:
        # Full ranks: the core is the input, and there are no factors.
        return (ranks or self.ranks_for(shape)) == shape.input_shape

    def ranks_for(self, shape: LayerShape) -> Ranks:
        if self.ranks is None:
            raise InvalidInput(
                "ranks from an explained variance or a budget depend on the data",
                self.settings_label,
                "give ranks instead, or run a training or a measurement",
            )
        return capped_ranks(self.ranks, shape.input_shape)
