"""The trained part of a network in one configuration, ready to step."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core.costs.accounting import step_cost, with_batch
from asi_core.costs.measurement import kept_bytes
from asi_core.layers.freezing import train_only_
from asi_core.layers.lean import lean_
from asi_core.layers.shapes import observed_shapes
from asi_core.layers.surgery import compress_
from asi_core.methods import (
    ASI,
    HOSVD,
    USUAL_RANKS,
    Checkpointing,
    EightBit,
    GradientFilter,
    Method,
    Vanilla,
)
from asi_core.methods.base import Saved
from asi_core.methods.blocks import related
from asi_core.training.checkpointing import repeated_blocks
from asi_core.training.layout import Layout, in_layout_, laid_out
from asi_core.training.prefix import SplitModel, split_frozen
from asi_core.zoo.build import build_model
from asi_core.zoo.cards import model_card

_CLASSES = 10
# The prefix is run on this many images, whose values are then repeated: times do not depend on
# them.
_IMAGES = 32


@dataclass(frozen=True, slots=True)
class Case:
    """The last `layers` convolutions of a zoo model, with batch and image size."""

    model: str
    layers: int
    batch_size: int
    image_size: int = 224

    @property
    def name(self) -> str:
        return f"{self.model} k={self.layers} batch={self.batch_size}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Way:
    """One configuration for training a tail.

    Attributes:
        lean: whether normalisations and activations keep only what their gradients need.
        layout: the memory layout; None as training would choose.
    """

    method: Method
    lean: bool
    layout: Layout | None

    def made_lean(self) -> Way:
        """The same configuration with lean layers."""
        return replace(self, lean=True)

    def with_method(self, method: Method) -> Way:
        """The same configuration with another method."""
        return replace(self, method=method)


NCHW, NHWC = torch.contiguous_format, torch.channels_last


class FreeWeightGradient(Vanilla):
    """Keeps nothing and returns zeros: the time of a step without weight gradients."""

    replaces_layers: ClassVar[bool] = True

    def compress(self, x: Tensor, *args: Any) -> Saved:
        return (None,)

    def weight_gradient(
        self, saved: Saved, grad_output: Tensor, weight_shape: tuple[int, ...], *args: Any
    ) -> Tensor:
        return grad_output.new_zeros(weight_shape)


WAYS: Mapping[str, Way] = {
    "vanilla_nchw": Way(Vanilla(), False, NCHW),
    "vanilla_nhwc": Way(Vanilla(), False, NHWC),
    "vanilla_lean": Way(Vanilla(), True, None),
    "asi": Way(ASI(ranks=USUAL_RANKS, update="every_step"), True, None),
    "asi_half": Way(ASI(ranks=USUAL_RANKS, update="every_step", bits=16), True, None),
    "asi_refreshed": Way(ASI(ranks=USUAL_RANKS, refresh_every=4), True, None),
    "asi_late": Way(ASI(ranks=USUAL_RANKS, update="one_step_late"), True, None),
    "asi_needed": Way(ASI(ranks=USUAL_RANKS, update="when_needed"), True, None),
    "hosvd": Way(HOSVD(ranks=USUAL_RANKS), True, None),
    "gradient_filter": Way(GradientFilter(), True, None),
    "checkpointing": Way(Checkpointing(), True, None),
    "eight_bit": Way(EightBit(), True, None),
    "free": Way(FreeWeightGradient(), True, None),
}


@lru_cache(maxsize=4)
def _network(name: str) -> nn.Module:
    """A network of the zoo, to be copied: initialising its parameters takes longer."""
    return build_model(name, _CLASSES, seed=0, pretrained=False)


def _split(case: Case, method: Method, device: torch.device) -> tuple[SplitModel, list[str]]:
    """A case's network, split, and the names of its trained layers."""
    model = deepcopy(_network(case.model)).to(device)
    names = compress_(model, method, layers=case.layers, lean=False)
    train_only_(model, names, model_card(case.model).heads, train_norm=False)
    return split_frozen(model), names


@lru_cache(maxsize=8)
def _crossing(case: Case, device: torch.device) -> tuple[Tensor, ...]:
    """The frozen prefix's output for a case, the same for all configurations."""
    parts, _ = _split(case, Vanilla(), device)
    generator = torch.Generator().manual_seed(0)
    side = case.image_size
    images = torch.randn(case.batch_size, 3, side, side, generator=generator).to(device)
    with torch.no_grad():
        values: tuple[Tensor, ...] = parts.prefix(images)
    return values


class Tail:
    """The trained part of a case, ready to step.

    Attributes:
        shapes: of the trained layers, in forward order.
        layout: memory layout of its tensors.
    """

    def __init__(self, case: Case, way: Way, device: torch.device) -> None:
        self.case, self.way = case, way
        own = Vanilla() if way.method.repeats_blocks else way.method
        parts, names = _split(case, own, device)
        self._module: nn.Module = parts.tail
        if way.lean:
            lean_(self._module, fold=True)
        self.layout = in_layout_(self._module, way.layout)
        if way.method.repeats_blocks:
            self._module = repeated_blocks(self._module, names)
        values = _crossing(replace(case, batch_size=_IMAGES), device)
        self._inputs = tuple(self._repeated(value) for value in values)
        self._labels = torch.arange(case.batch_size, device=device) % _CLASSES
        with observed_shapes(self._module, names) as shapes:
            # One image is enough to record them.
            self._module(*(laid_out(value[:1], self.layout) for value in values))
        self.shapes = related(with_batch(s, case.batch_size) for s in shapes.all(names))

    def compile_(self) -> None:
        """Have PyTorch compile the tail, in place, in its next step; shapes are fixed."""
        self._module.compile(dynamic=False)

    def step(self) -> None:
        """Forward and backward pass; gradients are recomputed, and not applied."""
        self._module.zero_grad()
        self._loss(self._module(*self._inputs)).backward()

    def loss_and_gradients(self) -> list[Tensor]:
        """The loss of one step, and all gradients."""
        self._module.zero_grad()
        loss = self._loss(self._module(*self._inputs))
        loss.backward()
        return [loss.detach(), *(p.grad for p in self._module.parameters() if p.grad is not None)]

    def layer_inputs(self) -> dict[str, Tensor]:
        """The inputs of the trained layers, by name."""
        found: dict[str, Tensor] = {}
        handles = [
            self._module.get_submodule(shape.name).register_forward_pre_hook(
                lambda layer, inputs, name=shape.name: found.__setitem__(name, inputs[0].clone())
            )
            for shape in self.shapes
        ]
        with torch.no_grad():
            self._module(*self._inputs)
        for handle in handles:
            handle.remove()
        return found

    def settle(self) -> None:
        """Forward passes only: prepare warm starts, kernels and memory for a long step."""
        for _ in range(self.way.method.warm_up_steps):
            self._loss(self._module(*self._inputs))

    def kept_bytes(self) -> int:
        """Real bytes that a step keeps for backward.

        Raises:
            MetersDisagree: if the two counts differ.
        """
        return kept_bytes(
            self._module,
            lambda: tuple(value.clone() for value in self._inputs),
            self._loss,
            [shape.name for shape in self.shapes],
            model_card(self.case.model).head,
        )

    def formula_bytes(self) -> int:
        """The trained layers' inputs by formula, as the configuration's method keeps them."""
        return step_cost(self.shapes, self.way.method, "exact").activation_bytes

    def _loss(self, logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, self._labels)

    def _repeated(self, values: Tensor) -> Tensor:
        times = -(-self.case.batch_size // len(values))
        repeated = values.repeat(times, *[1] * (values.dim() - 1))[: self.case.batch_size]
        return laid_out(repeated, self.layout)
