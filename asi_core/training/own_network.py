"""What the specification of a run says of a network and data of the user's own.

They are in no registry, so the facts that pages and checks need are kept with the run.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from asi_core.errors import InvalidInput
from asi_core.methods import AnyMethod
from asi_core.units import format_count
from asi_core.zoo.cards import modes_of_layer

# What `fine_tune` takes for a network of one's own; defaults are those of `RunSpec`.
RECIPE = (
    *("steps", "seed", "optimizer", "learning_rate", "schedule", "warmup_steps", "final_rate"),
    *("momentum", "weight_decay", "clip_norm", "micro_batch", "apply_early"),
    *("evaluate_every", "probe_every"),
)

_PREFIX = "own/"
_LONGEST_NAME = 80
_Count = Annotated[int, Field(ge=0)]
_Text = Annotated[str, Field(max_length=200)]


class OwnNetwork(BaseModel):
    """A network and data that the user brought; runs are compared where all of this is equal.

    Attributes:
        weights: hash of names, shapes and values of all parameters and buffers at the start, but
            those of `also_trained`, which usually start at random.
        inputs: shape of the first batch's input, without the batch; of its first tensor.
        train_images, test_images: how many there are; None where the loader does not tell.
        loss: name of the loss function.
        also_trained: what is trained besides the layers.
        freeze_statistics, fold: as in `Compression`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    inputs: Annotated[tuple[_Count, ...], Field(max_length=8)]
    train_images: _Count | None = None
    test_images: _Count | None = None
    loss: _Text = "cross_entropy"
    also_trained: Annotated[tuple[_Text, ...], Field(max_length=1000)] = ()
    freeze_statistics: bool = True
    fold: bool = True

    @property
    def inputs_label(self) -> str:
        """The shape of one input in words."""
        return " × ".join(map(str, self.inputs)) or "one number"

    def as_settings(self) -> dict[str, Any]:
        """For tables of settings: plain values, by name."""
        counts = {"training images": self.train_images, "test images": self.test_images}
        return {
            "start": self.weights[:8],
            "inputs": self.inputs_label,
            **{name: None if n is None else format_count(n, "") for name, n in counts.items()},
            "loss": self.loss,
            "also_trained": ", ".join(self.also_trained) or None,
            "freeze_statistics": self.freeze_statistics,
            "fold": self.fold,
        }


class OwnLayer(BaseModel):
    """A trained layer of a network of the user's own.

    Attributes:
        is_linear: whether it is linear, not a convolution.
        method: its own method, where it is another than that of the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    is_linear: bool
    method: AnyMethod | None = None

    def mode_names(self, modes: int) -> tuple[str, ...]:
        """The names of the modes of its input, if there are so many."""
        return modes_of_layer("linear" if self.is_linear else "conv", modes)


def layers_as_settings(layers: tuple[OwnLayer, ...]) -> dict[str, Any]:
    """For tables of settings: which layers are trained, and which have methods of their own."""
    own = [
        f"{layer.name}: {layer.method.settings_label}"
        for layer in layers
        if layer.method is not None
    ]
    return {
        "trained_layers": ", ".join(layer.name for layer in layers),
        "methods_of_layers": ", ".join(own) or None,
    }


def own_name(title: str) -> str:
    """The name, in a specification, of a network or data set that the user calls `title`.

    Raises:
        InvalidInput: if it is empty, too long or not printable.
    """
    text = title.strip()
    if not (0 < len(text) <= _LONGEST_NAME and text.isprintable()):
        raise InvalidInput(
            f"names of a network or data must have 1 to {_LONGEST_NAME} printable characters",
            repr(title[: 2 * _LONGEST_NAME]),
            "choose another",
        )
    return _PREFIX + text


def is_own(name: str) -> bool:
    """Whether `own_name` made this name."""
    return name.startswith(_PREFIX)


def own_title(name: str) -> str:
    """What pages call a network or data set of this name."""
    return f"{name.removeprefix(_PREFIX)} (own)"
