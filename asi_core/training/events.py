"""Events of a run: one frozen record per kind, JSON in and out."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, FailFast, Field, TypeAdapter, model_validator

from asi_core.costs.timeline.records import Category, Phase, Timeline, Use
from asi_core.records import LayerShape
from asi_core.training.pictures import LayerPictures

# Of the timeline of a step: as many moments as a picture has points, and what a file may hold.
MOST_MOMENTS, MOST_LIVES = 256, 20_000
MOST_BYTES, LONGEST_WORD = 2**50, 300
# The last step that may be recorded over time.
LAST_MEASURED = 3
_USES = frozenset(map(str, (*Use, *Category)))


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True)

    step: int

    @property
    def has_json(self) -> bool:
        """Whether all its numbers are finite, as JSON requires."""
        try:
            json.dumps(self.model_dump(mode="json"), allow_nan=False)
        except ValueError:
            return False
        return True


class ImageCounts(BaseModel):
    """How many classes and images a run has.

    Attributes:
        left_out: damaged images that are in neither split.
        is_unbalanced: whether the test images are very unbalanced (`training.balance`).
    """

    model_config = ConfigDict(frozen=True)

    classes: int = Field(ge=0)
    train: int = Field(ge=0)
    test: int = Field(ge=0)
    left_out: int = Field(default=0, ge=0)
    is_unbalanced: bool = False


class PreparedEvent(_Event):
    """The setup of a run, before the first step.

    Attributes:
        images: None in events of earlier versions.
        layers: shapes of the trained layers in a pass of full size, in forward order.
        frozen_values: elements per image passed from the frozen prefix to the trained part.
    """

    kind: Literal["prepared"] = "prepared"
    layers: tuple[LayerShape, ...]
    trained_parameters: int
    frozen_values: int
    device: str
    threads: int
    layout: str | None = None
    images: ImageCounts | None = None


class StepEvent(_Event):
    """One training step.

    Attributes:
        accuracy: on the batch, before the update, 0 to 1.
        prefix_seconds: reading or computing the frozen part's output; not included in the step.
        forward_seconds, backward_seconds, update_seconds: of the trained part; for a network of
            one's own, which is not split, of the whole network.
        saved_bytes: measured, everything that the trained part keeps for backward.
        activation_bytes: by formula, for the inputs of the trained layers; None, as are the MACs,
            for a method without closed form.
        forward_macs, overhead_macs, backward_macs: by formula, exact convention, for the trained
            layers.
    """

    kind: Literal["step"] = "step"
    loss: float
    accuracy: float
    learning_rate: float
    prefix_seconds: float
    forward_seconds: float
    backward_seconds: float
    update_seconds: float
    saved_bytes: int
    activation_bytes: int | None = None
    forward_macs: int | None = None
    overhead_macs: int | None = None
    backward_macs: int | None = None

    @property
    def macs(self) -> int | None:
        parts = (self.forward_macs, self.overhead_macs, self.backward_macs)
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    @property
    def step_seconds(self) -> float:
        return self.forward_seconds + self.backward_seconds + self.update_seconds


class EvaluationEvent(_Event):
    """Accuracy (0 to 1) and mean loss on all test images after `step` steps.

    Attributes:
        balanced_accuracy: the mean per-class accuracy, if the test images are very unbalanced
            (`training.balance`); None otherwise.
    """

    kind: Literal["evaluation"] = "evaluation"
    accuracy: float
    loss: float
    balanced_accuracy: float | None = None


class LayerProbe(BaseModel):
    """One layer in one training step.

    Attributes:
        shape: of the layer's input.
        ranks: in force at this step, None for a method without ranks.
        singular_values: of the input, one descending list per mode.
        captured_energy: share of the input's squared norm that the method keeps, 0 to 1.
        best_energy: the share that HOSVD keeps at the same ranks.
        gradient_cosine: between the weight gradient in use and the exact one for the same output
            gradient; None if the exact one is in use.
        drift_degrees: largest principal angle between the subspaces of this step and the previous
            one, per mode; None for a mode that is not projected or was restarted.
        pictures: of the first image's input; None in probes without pictures.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    shape: tuple[int, ...]
    ranks: tuple[int, ...] | None = None
    # There are many numbers; stop at the first that is not finite.
    singular_values: Annotated[tuple[Annotated[tuple[float, ...], FailFast()], ...], FailFast()]
    captured_energy: float | None = None
    best_energy: float | None = None
    gradient_cosine: float | None = None
    drift_degrees: tuple[float | None, ...] | None = None
    pictures: LayerPictures | None = None


class ProbeEvent(_Event):
    """A probe of all trained layers.

    Attributes:
        seconds: duration of the probe itself, not included in the step.
    """

    kind: Literal["probe"] = "probe"
    layers: tuple[LayerProbe, ...]
    seconds: float | None = None


_Count = Annotated[int, Field(ge=0, le=MOST_BYTES)]
_Name = Annotated[str, Field(max_length=LONGEST_WORD)]


class TimelineEvent(_Event):
    """The memory of one training step over time, in at most `MOST_MOMENTS` moments.

    The fields are those of `Timeline.as_dict`.
    """

    kind: Literal["timeline"] = "timeline"
    source: Literal["measured"] = "measured"
    device: _Name
    names: tuple[_Name, ...] = Field(max_length=MOST_LIVES)
    moments: tuple[tuple[_Count, _Count, _Count, _Count], ...] = Field(
        min_length=1, max_length=MOST_MOMENTS
    )
    lifetimes: tuple[tuple[_Count, _Count, _Count, int, _Count], ...] = Field(max_length=MOST_LIVES)

    @classmethod
    def of(cls, step: int, timeline: Timeline) -> Self:
        """The event of a measured step."""
        return cls.model_validate({"step": step, **timeline.thinned(MOST_MOMENTS).as_dict()})

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> Self:
        words, count = len(self.names), len(self.moments)
        for phase, place, operator, _ in self.moments:
            if max(phase, place, operator) >= words or self.names[phase] not in get_args(Phase):
                raise ValueError("an operator has a name or phase that is not listed")
        for _, use, place, first, end in self.lifetimes:
            if max(use, place) >= words or self.names[use] not in _USES:
                raise ValueError("a storage has a name that is not listed, or an unknown use")
            if not -1 <= first <= end <= count:
                raise ValueError("a storage lives outside of the step")
        if self.timeline.peak.nbytes < 0:
            raise ValueError("the step never reaches the memory that was there before it")
        return self

    @cached_property
    def timeline(self) -> Timeline:
        """The memory of the step."""
        return Timeline.from_dict(self.model_dump())


Event = Annotated[
    PreparedEvent | StepEvent | EvaluationEvent | ProbeEvent | TimelineEvent,
    Field(discriminator="kind"),
]
EVENT_ADAPTER: TypeAdapter[
    PreparedEvent | StepEvent | EvaluationEvent | ProbeEvent | TimelineEvent
] = TypeAdapter(Event)
