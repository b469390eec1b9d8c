"""The one record that says what a run is."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, model_validator

from asi_core.datasets import dataset_card
from asi_core.errors import InvalidInput
from asi_core.methods import AnyMethod
from asi_core.zoo.cards import check_image_size, model_card

_POINTS_A_RUN = 10
# Pixels a side that a run may have.
_LARGEST_IMAGE = 512
# Numbers of a recipe become single precision, which has hardly any beyond.
_LARGEST_SINGLE = 3.4e38
# Beyond, browsers and others who read JSON round whole numbers.
_LARGEST_SEED = 2**53 - 1


def _at_least(least: int, what: str) -> AfterValidator:
    def check(value: int) -> int:
        if value < least:
            raise InvalidInput(f"{what} must be at least {least}", value, f"choose {least} or more")
        return value

    return AfterValidator(check)


def _computable(what: str, most: float) -> AfterValidator:
    """Not checked in runs of before there was this rule: they have failed, and are shown."""

    def check(value: float, info: ValidationInfo) -> float:
        if value > most and not (info.context or {}).get(_KEPT):
            raise InvalidInput(f"{what} must be at most {most}", value, "choose less")
        return value

    return AfterValidator(check)


def _number(
    what: str, allowed: str, is_allowed: Callable[[float], bool], way_out: str
) -> AfterValidator:
    def check(value: float) -> float:
        if not is_allowed(value):
            raise InvalidInput(f"{what} must be {allowed}", value, way_out)
        return value

    return AfterValidator(check)


def _positive(what: str) -> tuple[AfterValidator, AfterValidator]:
    # Nothing is infinite: no store keeps a number that JSON has not.
    is_one = _number(what, "a positive number", lambda v: 0 < v < inf, "choose one above 0")
    return is_one, _computable(what, _LARGEST_SINGLE)


_MOMENTUM = _number("momentum", "at least 0 and below 1", lambda v: 0 <= v < 1, "try 0.9")
_DECAY = _number("weight decay", "a number of 0 or more", lambda v: 0 <= v < inf, "try 0.0001")
_SHARE = _number("final rate", "a share, from 0 to 1", lambda v: 0 <= v <= 1, "try 0.1")


def _at_most(most: int, what: str, value: int, why: str) -> None:
    if value > most:
        raise InvalidInput(f"{what} must be at most {most}, {why}", value, "choose less")


_KEPT = "kept"


class RunSpec(BaseModel):
    """A fine-tuning run: model, data, method and recipe. JSON in and out; same spec, same numbers.

    The defaults of the recipe are those of the ASI authors (SGD, cosine to a tenth, clipping).

    Attributes:
        skip_damaged: whether images of one's own that cannot be read are left out, and counted;
            else there is no run while there are any.
        pretrained: False starts from random weights, for measuring where there are no others.
        lean: whether normalisations and activation functions of the trained part keep only what
            their gradients need (`layers.lean`): the same numbers from fewer bytes, to the last
            bit, or to rounding where a compressed layer does a normalisation's work as well.
        layers: how many of the last layers are trained (convolutions; in transformers the linear
            layers of the MLPs); 0 trains the new head alone.
        image_size: side to which images are resized, pixels.
        final_rate: the learning rate's last value, as a share of the first.
        clip_norm: largest norm of all gradients together.
        train_norm: whether the affine parameters of batch normalisations after the first trained
            layer are trained too.
        evaluate_every: steps between two evaluations on the test images; None for ten a run.
        probe_every: steps between two looks at the spectra; None for ten a run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: str = "efficientnet_lite0"
    dataset: str = "fashion_mnist_small"
    skip_damaged: bool = False
    method: AnyMethod
    pretrained: bool = True
    lean: bool = True
    layers: Annotated[int, _at_least(0, "trained layers")] | Literal["all"] = 4
    steps: Annotated[int, _at_least(1, "steps")] = 150
    batch_size: Annotated[int, _at_least(1, "batch size")] = 64
    image_size: int = 96
    seed: Annotated[int, _at_least(0, "seed"), _computable("seed", _LARGEST_SEED)] = 0
    learning_rate: Annotated[float, *_positive("learning rate")] = 0.05
    momentum: Annotated[float, _MOMENTUM] = 0.0
    weight_decay: Annotated[float, _DECAY, _computable("weight decay", _LARGEST_SINGLE)] = 1e-4
    final_rate: Annotated[float, _SHARE] = 0.1
    clip_norm: Annotated[float, *_positive("clip norm")] = 2.0
    train_norm: bool = False
    evaluate_every: Annotated[int, _at_least(1, "evaluate_every")] | None = None
    probe_every: Annotated[int, _at_least(1, "probe_every")] | None = None

    @model_validator(mode="after")
    def _fits_model_and_data(self) -> Self:
        model, data = model_card(self.model), dataset_card(self.dataset)
        if self.layers != "all":
            _at_most(model.layer_count, "trained layers", self.layers, f"as {model.name} has")
        ranks = getattr(self.method, "ranks", None)
        if isinstance(ranks, tuple) and len(ranks) != model.modes:
            raise InvalidInput(
                f"ranks must be one number or {model.modes}, one per mode of {model.title}",
                f"a list of {len(ranks)}",
                f"give {', '.join(model.mode_names)}, or one number for all modes",
            )
        if model.layer_kind == "linear" and self.method.kind == "gradient_filter":
            raise InvalidInput(
                "gradient filtering needs convolutions, for it averages over image patches",
                f"{model.name}, whose trained layers are linear",
                "choose another method or model",
            )
        data.check_batch_size(self.batch_size)
        _at_most(_LARGEST_IMAGE, "image size", self.image_size, "pixels")
        check_image_size(model, self.image_size)
        return self

    @classmethod
    def of_record(cls, fields: Any) -> Self:
        """The specification of a run that a store has kept, whatever became of it."""
        return cls.model_validate(fields, context={_KEPT: True})

    @property
    def model_label(self) -> str:
        """The model's title, with what must not be overlooked about its weights."""
        title = model_card(self.model).title
        return title if self.pretrained else f"{title} (random weights)"

    @property
    def evaluation_interval(self) -> int:
        return self.evaluate_every or ceil(self.steps / _POINTS_A_RUN)

    @property
    def probe_interval(self) -> int:
        return self.probe_every or ceil(self.steps / _POINTS_A_RUN)


# What a run is that says nothing else: forms and flags begin with it.
RUN_DEFAULTS: dict[str, Any] = {
    name: field.default for name, field in RunSpec.model_fields.items() if not field.is_required()
}
