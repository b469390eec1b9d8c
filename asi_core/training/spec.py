"""The record that specifies a run."""

from __future__ import annotations

from collections.abc import Collection
from math import ceil
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from asi_core.datasets import dataset_card
from asi_core.errors import InvalidInput
from asi_core.fields import OF_RECORD, Setting
from asi_core.methods import AnyMethod
from asi_core.zoo.cards import ModelCard, check_image_size, check_is_trained_by_name, model_card

_POINTS_PER_RUN = 10
# Parameters of a recipe become single precision, which has hardly any larger number.
_LARGEST_SINGLE = 3.4e38
# Larger integers are rounded by browsers and other JSON readers.
_LARGEST_SEED = 2**53 - 1


def _at_most(most: int, what: str, value: int, why: str) -> None:
    if value > most:
        raise InvalidInput(f"{what} must be at most {most}, {why}", value, "choose less")


def _check_modes(model: ModelCard, given: int, counts: Collection[int]) -> None:
    """Raise unless `given` ranks are one for each mode of all trained layers' inputs."""
    if len(counts) > 1:
        raise InvalidInput(
            f"ranks must be one number where inputs have {' or '.join(map(str, sorted(counts)))} "
            f"modes, as those of {model.title}",
            f"a list of {given}",
            "give one number for all modes",
        )
    if given not in counts:
        (count,) = counts
        raise InvalidInput(
            f"ranks must be one number or {count}, one per mode of {model.title}",
            f"a list of {given}",
            f"give {', '.join(model.names_of_modes(count))}, or one number for all modes",
        )


class RunSpec(BaseModel):
    """A fine-tuning run: model, data, method and recipe. The same spec gives the same numbers.

    The default recipe is that of the ASI authors (SGD, cosine decay to a tenth, clipping).

    Attributes:
        skip_damaged: whether unreadable user images are left out and counted; otherwise they are
            an error.
        pretrained: False starts from random weights, for measuring if no others are available.
        lean: whether normalisations and activation functions of the trained part keep only what
            their gradients need (`layers.lean`): the same numbers from fewer bytes, bit for bit,
            or up to rounding where a compressed layer also computes a normalisation.
        layers: number of last layers that are trained (convolutions; in transformers the linear
            layers of the MLPs); 0 trains only the new head.
        image_size: side to which images are resized, pixels.
        final_rate: the last learning rate, as a share of the initial one.
        clip_norm: maximum norm of all gradients together.
        train_norm: whether the affine parameters of batch normalisations after the first trained
            layer are trained too.
        evaluate_every: steps between two evaluations on the test images; None for ten per run.
        probe_every: steps between two probes of the spectra; None for ten per run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: Annotated[
        str, Setting("Model", "A network pretrained on ImageNet. Only its last layers are trained.")
    ] = "efficientnet_lite0"
    dataset: Annotated[
        str,
        Setting(
            "Images",
            "Images that the network has not seen, with their classes. They determine the size of "
            "the new classifier, and the spectra from which ranks are found.",
        ),
    ] = "fashion_mnist_small"
    skip_damaged: Annotated[
        bool,
        Setting(
            "Leave out damaged images",
            "Unreadable files among your images are left out and counted. Otherwise a run with "
            "such files is refused.",
        ),
    ] = False
    method: AnyMethod
    pretrained: Annotated[
        bool,
        Setting(
            "Pretrained weights",
            "Off starts from random weights, to measure memory and time if the pretrained ones are "
            "not available. The accuracy is then meaningless.",
            off_flag="--random-weights",
        ),
    ] = True
    lean: Annotated[
        bool,
        Setting(
            "Lean normalisations and activations",
            "They keep only what their gradients need: the same numbers from fewer bytes. Results "
            "are equal bit for bit, or up to rounding where a compressed layer also computes a "
            "frozen normalisation, which saves time.",
        ),
    ] = True
    layers: Annotated[
        int | Literal["all"],
        Setting(
            "Trained layers",
            "How many of the last convolutions (in transformers: linear layers of the MLPs) are "
            "trained, besides a new classifier. All layers before them are frozen and keep "
            "nothing.",
            least=0,
            step=1,
        ),
    ] = 4
    steps: Annotated[int, Setting("Steps", "Training steps.", least=1, step=50, plural="steps")] = (
        150
    )
    batch_size: Annotated[
        int,
        Setting(
            "Batch size",
            "Images per training step. The bytes kept grow with it.",
            least=1,
            step=16,
        ),
    ] = 64
    image_size: Annotated[
        int,
        Setting(
            "Image size",
            "Images are resized to this side. Some networks accept only one size.",
            most=512,
            step=32,
            unit="pixels",
        ),
    ] = 96
    seed: Annotated[
        int,
        Setting(
            "Seed",
            "Determines the order of the images and the initial classifier. The same seed gives "
            "the same numbers.",
            least=0,
            most_computed=_LARGEST_SEED,
            step=1,
        ),
    ] = 0
    learning_rate: Annotated[
        float,
        Setting(
            "Learning rate",
            "Initial rate; it decays along a cosine to a share of this.",
            above=0,
            most_computed=_LARGEST_SINGLE,
            step=0.01,
        ),
    ] = 0.05
    momentum: Annotated[
        float,
        Setting(
            "Momentum",
            "For stochastic gradient descent. The published recipe uses none.",
            least=0,
            below=1,
            step=0.1,
            way_out="try 0.9",
            plural="momenta",
        ),
    ] = 0.0
    weight_decay: Annotated[
        float,
        Setting(
            "Weight decay",
            "How strongly weights are shrunk towards zero at every step.",
            least=0,
            most_computed=_LARGEST_SINGLE,
            step=0.0001,
            way_out="try 0.0001",
        ),
    ] = 1e-4
    final_rate: Annotated[
        float,
        Setting(
            "Final rate",
            "The last learning rate, as a share of the initial one.",
            least=0,
            most=1,
            step=0.1,
            way_out="try 0.1",
        ),
    ] = 0.1
    clip_norm: Annotated[
        float,
        Setting(
            "Clip norm",
            "Maximum norm of all gradients together.",
            above=0,
            most_computed=_LARGEST_SINGLE,
            step=0.5,
        ),
    ] = 2.0
    train_norm: Annotated[
        bool,
        Setting(
            "Train normalisations too",
            "Scale and shift of batch normalisations after the first trained layer are trained as "
            "well. Transformers have none.",
        ),
    ] = False
    evaluate_every: Annotated[
        int | None,
        Setting(
            "Evaluation interval",
            "Steps between two evaluations on the test images; ten per run by default.",
            least=1,
            step=10,
            plural="evaluation intervals",
        ),
    ] = None
    probe_every: Annotated[
        int | None,
        Setting(
            "Probe interval",
            "Steps between two probes of the spectra; ten per run by default.",
            least=1,
            step=10,
            plural="probe intervals",
        ),
    ] = None

    @model_validator(mode="after")
    def _fits_model_and_data(self) -> Self:
        model, data = model_card(self.model), dataset_card(self.dataset)
        check_is_trained_by_name(model)
        if self.layers != "all":
            _at_most(model.layer_count, "trained layers", self.layers, f"as {model.title} has")
        ranks = getattr(self.method, "ranks", None)
        if isinstance(ranks, tuple):
            _check_modes(model, len(ranks), model.modes_of_last(self.layers) or {model.modes})
        if (why := self.method.why_unsupported(model.usual_geometry)) is not None:
            raise InvalidInput(
                f"{self.method.label} must support the model's trained layers",
                f"{model.name} ({why})",
                "choose another method or model",
            )
        data.check_batch_size(self.batch_size)
        check_image_size(model, self.image_size)
        return self

    @classmethod
    def of_record(cls, fields: Any) -> Self:
        """The specification of a run from a store, even if it is no longer valid."""
        return cls.model_validate(fields, context={OF_RECORD: True})

    @property
    def model_label(self) -> str:
        """The model's title, with a note if its weights are random."""
        title = model_card(self.model).title
        return title if self.pretrained else f"{title} (random weights)"

    @property
    def evaluation_interval(self) -> int:
        return self.evaluate_every or ceil(self.steps / _POINTS_PER_RUN)

    @property
    def probe_interval(self) -> int:
        return self.probe_every or ceil(self.steps / _POINTS_PER_RUN)


# The default run, with which forms and flags start.
RUN_DEFAULTS: dict[str, Any] = {
    name: field.default for name, field in RunSpec.model_fields.items() if not field.is_required()
}
