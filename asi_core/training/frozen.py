"""Splitting a model into its frozen start and its trained part; works for zoo and user models.

    start = frozen_start(model)          # some parameters require a gradient, the others do not
    features = start.store(installed_pool(), load, images_key="my images, 96 px", count=len(mine),
                           device=torch.device("cpu"))
    for indices in batches:
        loss = loss_of(start.tail(*features.values(indices)), labels[indices])

What comes before the first trained parameter is then computed once per image, on this machine, for
all processes that share it. A model that cannot be split is its own trained part and receives the
images; `why_whole` says why.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from asi_core.errors import Unsupported, one_sentence
from asi_core.layers.lean import LeanLayer
from asi_core.training.features import FeaturePool, FeatureStore, FrozenPart
from asi_core.training.prefix import SplitModel, split_frozen

log = logging.getLogger(__name__)

# Behave the same in training and evaluation mode.
_STEADY = (nn.modules.conv._ConvNd, nn.Linear, nn.Identity, nn.Flatten)
_STEADY_FILES = ("torch.nn.modules.activation", "torch.nn.modules.pooling")
# Random, or with statistics that change, in training mode only.
_DIFFERENT = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd, nn.RReLU)
# Random pooling, in both modes.
_DRAWING_POOLS = (nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)
_BY_CHANCE = re.compile(
    "dropout|stochastic|rrelu|fractional|gumbel|^(rand|bernoulli|multinomial|normal_?$)"
)
# Position of the argument `training`, which turns randomness off in these functions.
_SWITCH = {"dropout": 2, "stochastic": 3, "rrelu": 3}
# Position of attention's dropout probability, which no mode turns off.
_ATTENTION, _DROPOUT_PLACE = "scaled_dot_product_attention", 4


@dataclass(frozen=True, slots=True)
class ImagesThemselves:
    """Replaces a feature store if a model is not split: images are read at every step."""

    load: Callable[[Tensor], Tensor]

    @property
    def filled_count(self) -> int:
        return 0

    def values(self, indices: Tensor) -> tuple[Tensor, ...]:
        """The images `indices` (N)."""
        return (self.load(indices),)


@dataclass(frozen=True, slots=True)
class FrozenStart:
    """A model split where training begins, if possible.

    Attributes:
        tail: the trained part: from the store's values, as separate arguments, to the model's
            results. It shares the model's layers.
        parts: None for a model that is not split.
        why_whole: why it is not split.
    """

    tail: nn.Module
    parts: SplitModel | None
    why_whole: str | None = None

    def store(
        self,
        pool: FeaturePool,
        load: Callable[[Tensor], Tensor],
        *,
        images_key: str,
        count: int,
        device: torch.device,
    ) -> FeatureStore | ImagesThemselves:
        """The tail's inputs, by image index.

        Args:
            load: indices (N) to the model's inputs (N x ...), on `device`. It must always return
                the same for an index: no augmentation.
            images_key: identifies these `count` images as they are loaded, for example by a digest:
                features on disk are reused for the same key.
        """
        if self.parts is None:
            return ImagesThemselves(load)
        parts = self.parts
        return pool.store(FrozenPart(parts.prefix, parts.crossing, load, images_key, count, device))


def frozen_start(model: nn.Module) -> FrozenStart:
    """Split `model` at the first values that depend on a trained parameter, if it can be split.

    Raises:
        Unsupported: if no parameter requires a gradient.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise Unsupported(f"no parameter of {type(model).__name__} requires a gradient.")
    try:
        parts = split_frozen(model)
    except Unsupported as error:
        return _whole(model, one_sentence(error))
    changing = _changing(parts.prefix)
    if changing is not None:
        return _whole(
            model,
            f"{changing}, before the first trained layer, returns different values each time: "
            "call eval() on the frozen part.",
        )
    return FrozenStart(parts.tail, parts)


def _whole(model: nn.Module, why: str) -> FrozenStart:
    log.warning("the whole %s runs at every step: %s", type(model).__name__, why)
    return FrozenStart(model, None, why)


def _changing(prefix: GraphModule) -> str | None:
    """The layer or function in a prefix whose result varies for the same image; None if none
    does."""
    for node in prefix.graph.nodes:
        if node.op == "call_module":
            layer = prefix.get_submodule(str(node.target))
            if any(_changes(part) for part in layer.modules()):
                plain = layer.plain if isinstance(layer, LeanLayer) else type(layer)
                return f"layer {node.target} ({plain.__name__})"
        elif node.op in ("call_function", "call_method") and _is_by_chance(node):
            return f"function {node.name}"
    return None


def _changes(layer: nn.Module) -> bool:
    training: bool = layer.training
    if isinstance(layer, _DRAWING_POOLS):
        return True
    if isinstance(layer, nn.MultiheadAttention) and layer.dropout > 0:
        return training
    if isinstance(layer, _DIFFERENT):
        return training
    steady = isinstance(layer, _STEADY) or type(layer).__module__ in _STEADY_FILES
    return training and not steady and not any(True for _ in layer.children())


def _is_by_chance(node: Node) -> bool:
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if name == _ATTENTION:
        by_place = node.args[_DROPOUT_PLACE] if len(node.args) > _DROPOUT_PLACE else 0.0
        return bool(node.kwargs.get("dropout_p", by_place) != 0.0)
    found = _BY_CHANCE.search(name)
    if found is None:
        return False
    place = _SWITCH.get(found.group(), len(node.args))
    by_position = node.args[place] if place < len(node.args) else True
    return node.kwargs.get("training", by_position) is not False
