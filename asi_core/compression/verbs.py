"""What a step of any network costs: by formula from an example, and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_map_only

from asi_core.compression.config import Compression
from asi_core.costs.accounting import StepCost, step_cost
from asi_core.costs.estimate import estimate as estimate_by_name
from asi_core.costs.forward import call_model
from asi_core.costs.measurement import StepMeasurement, measure_step
from asi_core.errors import InvalidInput
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.freezing import train_only_
from asi_core.layers.selection import choose_layers, matching
from asi_core.layers.shapes import observed_shapes
from asi_core.layers.surgery import methods_of
from asi_core.methods import Method
from asi_core.methods.blocks import related
from asi_core.records import Convention, LayerShape

Batch = TypeVar("Batch")

_MODEL = "model"


def estimate(
    model: str | nn.Module,
    method: Method | Compression,
    *,
    layers: int | str | None = None,
    batch_size: int | None = None,
    image_size: int | None = None,
    tokens: int | None = None,
    example: Any = None,
    convention: Convention = "exact",
) -> StepCost:
    """Bytes kept and multiply-accumulates of one training step, by formula.

    Args:
        model: the name of a network, with `layers`, `batch_size` and `image_size` or `tokens`; or
            any module, with an `example`. A module on the meta device needs neither weights nor
            arithmetic.
        method: a method for a name; a `Compression` for a module, which is left as it is.
        layers: for a name: how many of the last layers are trained, "all", or names and patterns
            such as "features.1[0-9].*", separated by spaces.
        batch_size: for a name.
        image_size: for a name of a network that reads images, in pixels.
        tokens: for a name of a language model: tokens of each text.
        example: for a module: a batch of the size that is trained with, on the model's device; a
            tensor, a tuple of positional or a mapping of keyword arguments.
        convention: "exact" counts what is executed and kept; "paper" what published tables count.

    Raises:
        InvalidInput: if there is no such model or layer, if the ranks depend on data, or if
            arguments of the other case are given.
        NoClosedForm: if a method has none.

    Example:
        >>> estimate("resnet18", ASI(ranks=4), layers=4, batch_size=16, image_size=224)
        >>> estimate("config/decoder_1b", ASI(ranks=16), layers=14, batch_size=4, tokens=512)
        >>> with torch.device("meta"):
        ...     model, tokens = MyDecoder(config), torch.zeros(1, 512, dtype=torch.long)
        >>> estimate(model, Compression("asi", ranks=32, layers=8), example=tokens)
    """
    if isinstance(model, str):
        size = image_size if tokens is None else tokens
        sizes = layers, batch_size, size
        if not isinstance(method, Method) or None in sizes or example is not None:
            raise InvalidInput(
                "the estimate of a network by its name takes a method, layers, batch size, and "
                "image size or tokens",
                f"{type(method).__name__}, {', '.join(map(str, sizes))}",
                "give these four, or a module with a Compression and an example",
            )
        assert layers is not None
        assert batch_size is not None
        return estimate_by_name(
            model,
            method,
            layers=layers,
            batch_size=batch_size,
            image_size=image_size,
            tokens=tokens,
            convention=convention,
        )
    if not isinstance(method, Compression) or example is None:
        raise InvalidInput(
            "the estimate of a module takes a Compression and an example",
            f"{type(method).__name__} and {type(example).__name__}",
            "write Compression(method, layers=...) and pass a batch as example",
        )
    names = choose_layers(model, method.layers, exclude=method.exclude)
    methods = methods_of(model, names, method.method, method.per_layer)
    others = [name for part in method.also_trained for name in matching(model, part)]
    return step_cost(layer_shapes(model, names, example, others=others), methods, convention)


def layer_shapes(
    model: nn.Module, names: Sequence[str], example: Any, *, others: Sequence[str] = ()
) -> tuple[LayerShape, ...]:
    """Shapes of layers of any network in a training step, one per call, in the order of `names`.

    One forward pass, of which nothing is kept for backward. The model is left as it is.

    Args:
        example: a batch, as `estimate` takes it.
        others: names of modules that are trained besides.

    Raises:
        InvalidInput: if one of the layers is not called.
    """
    with (
        _unchanged(model),
        torch.enable_grad(),
        saved_tensors_hooks(lambda tensor: None, lambda kept: kept),
        observed_shapes(model, names) as shapes,
    ):
        model.eval()
        train_only_(model, names, others)
        call_model(model, example)
        found = related(shapes.all(names))
        idle = [name for name in names if not shapes.of(name)]
    if idle:
        raise InvalidInput(
            "trained layers must be called in a forward pass",
            ", ".join(idle),
            "leave them out of layers",
        )
    return found


def measure(
    model: nn.Module, batch: Batch, loss: Callable[[nn.Module, Batch], Tensor]
) -> StepMeasurement:
    """Measure one training step of a network as it is: bytes kept for backward, and seconds.

    Two independent meters must agree on the bytes. Weights and gradients are left as they are.

    Args:
        batch: of the size that is trained with. Its tensors are copied for the measured step.
        loss: computes the loss of the model on a batch, a scalar.

    Returns:
        Bytes in total, by category and by trained layer, and the layers' seconds.

    Raises:
        MetersDisagree: if something is kept that autograd does not know of.
        InvalidInput: if the loss depends on nothing that is trained.
        Unsupported: if the model is compiled, or works on tensors without storages.

    Example:
        >>> def loss(model, batch):
        ...     return F.cross_entropy(model(batch[0]), batch[1])
        >>> measured = measure(model, (images, labels), loss)
        >>> measured.saved_bytes, dict(measured.category_bytes)
    """
    names = [name for name, layer in model.named_modules() if _is_trained(layer)]
    step = measure_step(
        _WithLoss(model, loss),
        lambda: (tree_map_only(Tensor, torch.clone, batch),),
        lambda found: found,
        [f"{_MODEL}.{name}" for name in names],
        None,
    )
    layers = tuple(replace(at, name=at.name.removeprefix(f"{_MODEL}.")) for at in step.layers)
    return replace(step, layers=layers)


def _is_trained(layer: nn.Module) -> bool:
    if isinstance(layer, CompressedLayer):
        return layer.is_trained
    return isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.weight.requires_grad


class _WithLoss(nn.Module):
    """A network whose output is its loss."""

    def __init__(self, model: nn.Module, loss: Callable[[nn.Module, Any], Tensor]) -> None:
        super().__init__()
        self.add_module(_MODEL, model)
        self._loss = loss

    def forward(self, batch: Any) -> Tensor:
        return self._loss(self.get_submodule(_MODEL), batch)


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Leave modes and what is trained as they were."""
    trained = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in trained:
            parameter.requires_grad_(requires_grad)
