"""The record that specifies a run."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from asi_core.datasets import dataset_card
from asi_core.errors import InvalidInput, Unsupported
from asi_core.fields import OF_RECORD, Setting
from asi_core.layers.lean_settings import ActivationBits, check_lean_settings
from asi_core.layers.patterns import ALL
from asi_core.methods import AnyMethod
from asi_core.training.own_network import OwnLayer, OwnNetwork, is_own, own_title
from asi_core.training.spec_checks import as_layers, at_most, check_modes, own_rate
from asi_core.zoo.cards import check_image_size, check_is_trained_by_name, model_card
from asi_core.zoo.shapes import chosen_facts, why_unsupported

_POINTS_PER_RUN = 10
# Parameters of a recipe become single precision, which has hardly any larger number.
_LARGEST_SINGLE = 3.4e38
# Larger integers are rounded by browsers and other JSON readers.
_LARGEST_SEED = 2**53 - 1
# Fields that only runs of a user's own network have; in the JSON of others they are left out.
_OF_OWN = ("own", "own_layers")


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
        activation_bits: bits in which activations such as GELU and layer normalisations keep what
            their gradients need, which are then approximate; None is exact.
        recompute_attention: whether frozen attention keeps only its input and runs again.
        layers: which layers are trained: how many of the last (convolutions; in transformers the
            linear layers of the MLPs), "all", or names, ends of names and patterns with *, ? and
            [...], separated by spaces or in a list; 0 trains only the new head.
        image_size: side to which images are resized, pixels.
        micro_batch: images per forward and backward pass, whose gradients are added up; None for
            the whole batch.
        apply_early: whether each parameter is updated as soon as its gradient is complete.
        learning_rate: the initial one; by default, or for None, the method's own for the optimiser.
        schedule: how it changes from step to step (`training.schedules`).
        warmup_steps: steps in which it rises to the initial one first.
        final_rate: the last learning rate of the cosine schedule, as a share of the initial one.
        clip_norm: maximum norm of all gradients together, or of each if they are applied early.
        train_norm: whether the affine parameters of batch normalisations after the first trained
            layer are trained too.
        evaluate_every: steps between two evaluations on the test images; None for ten per run.
        probe_every: steps between two probes of the spectra; None for ten per run.
        own: of a run of the user's own network and data (`fine_tune`), facts about them. Then
            `model` and `dataset` are "own/" and the user's names, and `pretrained`, `image_size`
            and `skip_damaged` mean nothing.
        own_layers: the layers that such a run trains; None for other runs.
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
            "Without them training starts from random weights: memory and time are the same, the "
            "accuracy is meaningless.",
            off_flag="--random-weights",
        ),
    ] = True
    lean: Annotated[
        bool,
        Setting(
            "Lean normalisations and activations",
            "They keep only what their gradients need: the same numbers from fewer bytes. In the "
            "same memory layout results are equal bit for bit, or up to rounding where a "
            "compressed layer also computes a frozen normalisation, which saves time.",
        ),
    ] = True
    activation_bits: Annotated[
        ActivationBits | None,
        Setting(
            "Activation bits",
            "GELU, SiLU and layer normalisations keep what their gradients need in so many bits "
            "per element. Outputs stay exact, gradients become approximate. Empty is exact.",
            choices={8: "8 bits", 4: "4 bits"},
            plural="activation bits",
            empty="exact",
        ),
    ] = None
    recompute_attention: Annotated[
        bool,
        Setting(
            "Recompute attention",
            "Frozen attention keeps only its input and runs again in the backward pass: the same "
            "numbers from fewer bytes, in more time.",
        ),
    ] = False
    layout: Annotated[
        Literal["contiguous", "channels_last"] | None,
        Setting(
            "Memory layout",
            "Of the activations. Automatic is channels last, which is mostly faster; plain layers "
            "without lean neighbours run in PyTorch's default layout, as people have them.",
            choices={"contiguous": "contiguous", "channels_last": "channels last"},
        ),
    ] = None
    layers: Annotated[
        int | str,
        Setting(
            "Trained layers",
            "How many of the last convolutions (in transformers: linear layers of the MLPs) are "
            "trained, besides a new classifier; or which: names and patterns such as "
            "features.1[0-9].* with spaces between them. All layers before the first of them are "
            "frozen and keep nothing.",
            least=0,
            step=1,
        ),
        BeforeValidator(as_layers),
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
    micro_batch: Annotated[
        int | None,
        Setting(
            "Micro-batch",
            "Images per forward and backward pass; a step adds up the gradients of its batch. "
            "Fewer need less memory and give the same weights to rounding, as normalisations use "
            "fixed statistics. By default the whole batch.",
            least=1,
            step=8,
            plural="micro-batches",
            empty="the whole batch",
        ),
    ] = None
    apply_early: Annotated[
        bool,
        Setting(
            "Apply gradients as they come",
            "Each parameter is updated as soon as its gradient is complete, and the gradient is "
            "freed: less memory at once, unless micro-batches add up. Gradients are then clipped "
            "one by one, not all together.",
        ),
    ] = False
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
    optimizer: Annotated[
        Literal["sgd", "adamw"],
        Setting(
            "Optimizer",
            "SGD keeps nothing between steps, or one number per trained parameter with momentum. "
            "AdamW keeps two, and needs smaller learning rates.",
            choices={"sgd": "SGD", "adamw": "AdamW"},
            plural="optimizers",
        ),
    ] = "sgd"
    learning_rate: Annotated[
        float,
        Setting(
            "Learning rate",
            "The initial rate. Empty is the method's own for the optimizer: 0.05 for SGD and 0.001 "
            "for AdamW, but more for methods that train adapters.",
            above=0,
            most_computed=_LARGEST_SINGLE,
            step=0.01,
        ),
    ] = Field(default_factory=own_rate)
    schedule: Annotated[
        Literal["cosine", "constant"],
        Setting(
            "Schedule",
            "How the learning rate changes: along half a cosine down to the final rate, or not.",
            choices={"cosine": "cosine", "constant": "constant"},
            plural="schedules",
        ),
    ] = "cosine"
    warmup_steps: Annotated[
        int,
        Setting(
            "Warm-up",
            "Steps in which the learning rate rises linearly from near zero to the initial one, "
            "before the schedule.",
            least=0,
            step=10,
            unit="steps",
        ),
    ] = 0
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
            "The last learning rate of the cosine schedule, as a share of the initial one.",
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

    own: OwnNetwork | None = None
    own_layers: tuple[OwnLayer, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_empty_rate(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("learning_rate", 0) is None:
            return {name: value for name, value in given.items() if name != "learning_rate"}
        return given

    @model_serializer(mode="wrap")
    def _written(
        self, handler: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """Without what only runs of one's own network have; of what is not default, without a
        learning rate that is the method's own."""
        written: dict[str, Any] = handler(self)
        left_out = {name for name in _OF_OWN if written.get(name) is None}
        if info.exclude_defaults and self.has_own_rate:
            left_out.add("learning_rate")
        return {name: value for name, value in written.items() if name not in left_out}

    @model_validator(mode="after")
    def _fits_itself(self) -> Self:
        if self.micro_batch is not None:
            at_most(self.batch_size, "the micro-batch", self.micro_batch, "the batch size")
        if self.optimizer != "sgd" and self.momentum:
            raise InvalidInput(
                "momentum belongs to SGD", f"{self.momentum:g} with AdamW", "set it to 0"
            )
        at_most(self.steps, "the warm-up", self.warmup_steps, "the steps of the run")
        return self

    @model_validator(mode="after")
    def _fits_model_and_data(self) -> Self:
        if self.own is not None or self.own_layers is not None:
            return self._checked_own()
        model, data = model_card(self.model), dataset_card(self.dataset)
        check_is_trained_by_name(model)
        if isinstance(self.layers, int):
            at_most(model.layer_count, "trained layers", self.layers, f"as {model.title} has")
        elif self.layers != ALL:
            # Raises if there is no such layer.
            chosen_facts(self.model, self.layers)
        ranks = getattr(self.method, "ranks", None)
        if isinstance(ranks, tuple):
            check_modes(model, len(ranks), self._modes or {model.modes})
        if (why := why_unsupported(self.method, self.model, self.layers)) is not None:
            raise InvalidInput(
                f"{self.method.label} must support the model's trained layers",
                f"{model.name} ({why})",
                "choose another method or model, or other layers by their names",
            )
        data.check_batch_size(self.batch_size)
        check_lean_settings(self.activation_bits, self.recompute_attention, lean=self.lean)
        check_image_size(model, self.image_size)
        return self

    def _checked_own(self) -> Self:
        names = [layer.name for layer in self.own_layers or ()]
        named = is_own(self.model) and is_own(self.dataset)
        counted = self.layers == len(names) == len(set(names))
        if not (named and counted and self.own is not None and self.own_layers is not None):
            raise InvalidInput(
                "a run of one's own network must name it, its data and each of its trained layers",
                f"{self.model}, {self.dataset} and {len(names)} of {self.layers} layers",
                "let asi_core.fine_tune specify it",
            )
        return self

    def check_can_be_repeated(self) -> None:
        """Raise `Unsupported` if the specification alone does not suffice to train."""
        if self.own is not None:
            raise Unsupported(
                f"{own_title(self.model)} is a network that only its user's program has: train it "
                "there again, with asi_core.fine_tune and asi_core.keep_run."
            )

    @classmethod
    def of_record(cls, fields: Any) -> Self:
        """The specification of a run from a store, even if it is no longer valid."""
        return cls.model_validate(fields, context={OF_RECORD: True})

    @property
    def model_label(self) -> str:
        """The model's title, with a note if its weights are random."""
        if self.own is not None:
            return own_title(self.model)
        title = model_card(self.model).title
        return title if self.pretrained else f"{title} (random weights)"

    @property
    def has_own_rate(self) -> bool:
        """Whether the learning rate is the method's own for the optimiser."""
        return self.learning_rate == own_rate(dict(self))

    @property
    def recipe_label(self) -> str:
        """Optimiser, learning rate and schedule, such as "SGD at 0.05, cosine to 0.1 of it"."""
        name = {"sgd": "SGD", "adamw": "AdamW"}[self.optimizer]
        momentum = f" with momentum {self.momentum:g}" if self.momentum else ""
        own = "" if self.has_own_rate else ", not the method's own"
        then = "constant" if self.schedule == "constant" else f"cosine to {self.final_rate:g} of it"
        warm = f", after {self.warmup_steps} steps of warm-up" if self.warmup_steps else ""
        return f"{name}{momentum} at {self.learning_rate:g}{own}, {then}{warm}"

    @property
    def data_label(self) -> str:
        """The title of the images."""
        return dataset_card(self.dataset).title if self.own is None else own_title(self.dataset)

    @property
    def inputs_label(self) -> str:
        """The size of the network's inputs, in words."""
        return f"{self.image_size} px" if self.own is None else self.own.inputs_label

    def mode_names(self, layer: str, modes: int) -> tuple[str, ...]:
        """The names of the modes of a trained layer's input, if there are so many."""
        for known in self.own_layers or ():
            if known.name == layer:
                return known.mode_names(modes)
        return model_card(self.model).names_of_modes(modes)

    @property
    def _modes(self) -> set[int]:
        """Numbers of modes that inputs of the trained layers have."""
        chosen = chosen_facts(self.model, self.layers)
        return {1 + len(inputs) for facts in chosen for inputs, _ in facts.sizes.values()}

    @property
    def pass_size(self) -> int:
        """Images per forward and backward pass."""
        return self.micro_batch or self.batch_size

    @property
    def evaluation_interval(self) -> int:
        return self.evaluate_every or ceil(self.steps / _POINTS_PER_RUN)

    @property
    def probe_interval(self) -> int:
        return self.probe_every or ceil(self.steps / _POINTS_PER_RUN)


# The default run, with which forms and flags start; without what depends on other fields.
RUN_DEFAULTS: dict[str, Any] = {
    name: field.default
    for name, field in RunSpec.model_fields.items()
    if not field.is_required() and field.default_factory is None
}
