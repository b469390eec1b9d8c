"""What PyTorch's transforms cannot do with compressed and lean layers, refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch.autograd.function import once_differentiable as _once

from asi_core.errors import Unsupported

Result = TypeVar("Result")


def refuse_transforms(layer: object) -> None:
    """Raise `Unsupported` within transforms of `torch.func`, which custom functions cannot take."""
    if torch._C._are_functorch_transforms_active():
        raise Unsupported(
            f"torch.func cannot transform a {type(layer).__name__}: call asi_core.restore_ on the "
            "model first."
        )


def once_differentiable(backward: Callable[..., Result]) -> Callable[..., Result]:
    """A decorator for the backward function of a compressed or lean layer.

    Raises:
        Unsupported: when it is called with `create_graph=True`: the second derivative needs what
            the layer has not kept.
    """
    # PyTorch's own sees to the rest, such as leaving the graph.
    once = _once(backward)

    @wraps(backward)
    def refusing(ctx: Any, *gradients: Any) -> Result:
        if torch.is_grad_enabled():
            raise Unsupported(
                "a compressed or lean layer has no second derivative: call backward without "
                "create_graph, or asi_core.restore_ on the model first."
            )
        return once(ctx, *gradients)

    return refusing
