"""What is trained of a network and how it is compressed: a record that goes to JSON and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from asi_core.errors import InvalidInput, one_sentence
from asi_core.layers.lean_settings import check_lean_settings
from asi_core.methods import ASI, AnyMethod, Method, as_method
from asi_core.methods.registry import as_before_updates

if TYPE_CHECKING:
    from asi_core.planning import Plan


class Compression(BaseModel):
    """What is trained of a network, and how the inputs of its layers are kept.

    Attributes:
        method: a method, or its kind with its settings beside it.
        layers: which layers are trained and compressed, as `choose_layers` takes them.
        exclude: which are not, in the same way.
        per_layer: other methods or settings for some of them, as `compress_` takes them.
        also_trained: names, ends of names or "re:..." of modules that are trained as they are, such
            as a new classifier.
        train_norm: whether the scale and shift of normalisations after the first trained layer are
            trained as well.
        freeze_statistics: whether batch normalisations keep using the statistics that they have
            now, also after `model.train()`. Otherwise they use and update those of each batch, and
            keep their inputs for that.
        lean: whether layers without compression keep only what their gradients need.
        fold: whether a compressed convolution also computes the frozen normalisation after it:
            quicker, and the same numbers to rounding.

        activation_bits: 8 or 4 to keep for activations such as GELU and for layer normalisations in
            so many bits what their gradients need. Outputs stay exact, gradients become
            approximate. None is lossless.
        recompute_attention: whether frozen attention keeps only its input and runs again in
            backward, which costs time and changes no number unless `activation_bits` are given.

    Raises:
        InvalidInput: if there is no such method or setting, or a value is not allowed.

    Example:
        >>> Compression("asi", explained_variance=0.8, layers=4, also_trained=["fc"])
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    method: AnyMethod
    layers: Any
    exclude: Any = ()
    per_layer: dict[str, AnyMethod] = {}
    also_trained: tuple[str, ...] = ()
    train_norm: bool = False
    freeze_statistics: bool = True
    lean: bool = True
    fold: bool = True
    activation_bits: int | None = None
    recompute_attention: bool = False

    def __init__(self, method: Method | str | Mapping[str, Any], **given: Any) -> None:
        fields = {name: given.pop(name) for name in type(self).model_fields if name in given}
        chosen = as_method(method, **given)
        own = {
            pattern: as_method(settings, like=chosen)
            for pattern, settings in dict(fields.pop("per_layer", {})).items()
        }
        try:
            super().__init__(method=chosen, per_layer=own, **fields)
        except ValidationError as error:
            raise InvalidInput(
                "a compression must be complete and valid",
                one_sentence(error).rstrip("."),
                "see asi_core.Compression",
            ) from None

    @field_validator("layers", "exclude")
    @classmethod
    def _kept(cls, layers: Any) -> Any:
        """A generator is read once and kept."""
        is_plain = isinstance(layers, str) or callable(layers) or not isinstance(layers, Iterable)
        return layers if is_plain else tuple(layers)

    @model_validator(mode="after")
    def _checked(self) -> Self:
        check_lean_settings(self.activation_bits, self.recompute_attention, lean=self.lean)
        return self

    @field_validator("also_trained", mode="before")
    @classmethod
    def _several(cls, names: Any) -> Any:
        return (names,) if isinstance(names, str) else names

    @classmethod
    def from_plan(
        cls, plan: Plan, *, method: Method | str | Mapping[str, Any] | None = None, **given: Any
    ) -> Self:
        """The configuration that trains the layers of a plan, each with its ranks.

        Args:
            plan: as `asi_core.plan` makes it.
            method: a method with ranks, whose other settings are kept; ASI by default.
            given: the other fields of the configuration, such as `also_trained`.

        Raises:
            InvalidInput: if the method has no ranks.
        """
        chosen = ASI.usual() if method is None else as_method(method)
        if "ranks" not in type(chosen).model_fields:
            raise InvalidInput(
                "a plan is for a method whose ranks can be set", chosen.label, "choose asi"
            )
        own = {name: {"ranks": ranks} for name, ranks in plan.ranks.items()}
        return cls(chosen, layers=tuple(plan.ranks), per_layer=own, **given)

    def to_json(self) -> str:
        """The configuration as JSON text, which `from_json` reads.

        Raises:
            InvalidInput: if layers are chosen by a function, which has no JSON.
        """
        if any(callable(part) for part in (*_parts(self.layers), *_parts(self.exclude))):
            raise InvalidInput(
                "a configuration in JSON must name its layers",
                "a function",
                "write names or patterns such as 're:.*conv2'",
            )
        return json.dumps(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The configuration that `to_json` wrote.

        Raises:
            InvalidInput: if it is none.
        """
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("method"), dict):
            raise InvalidInput(
                "a configuration must be a JSON object with a method",
                repr(text[:40]),
                "write one with Compression.to_json",
            )
        found["method"] = as_before_updates(found["method"])
        if isinstance(own := found.get("per_layer"), dict):
            found["per_layer"] = {name: as_before_updates(given) for name, given in own.items()}
        return cls(**found)


def _parts(layers: Any) -> tuple[Any, ...]:
    return layers if isinstance(layers, tuple) else (layers,)
