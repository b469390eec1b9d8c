"""Why a layer does not keep fewer bytes."""

from __future__ import annotations

from torch import nn

from asi_core.layers.lean.layer import LeanLayer
from asi_core.layers.lean.pooling import averages_all
from asi_core.layers.lean.registry import LEAN, LeanForms

# Reasons by file of torch.nn.modules; functions with the name of a layer use the same.
REASONS = {
    "activation": "its gradient needs its input or its result, not one bit of them",
    "batchnorm": "only a plain nn.BatchNorm2d has a lean form",
    "instancenorm": "its gradient needs its input",
    "normalization": "its gradient needs its input",
    "pooling": "PyTorch keeps its input, and it has no lean form",
    "dropout": "it is in training mode and keeps what it drops",
}


# A trained one keeps its input because it is trained, and a type derived from it as it likes.
_PRODUCTS = (nn.Conv2d, nn.Linear)


def why_kept(layer: nn.Module) -> str | None:
    """Why a layer that keeps tensors cannot keep less; None if it can, or keeps nothing."""
    if isinstance(layer, LeanLayer):
        return layer.why_input_is_needed()
    lossless = LeanForms().of(type(layer))
    if lossless is not None:
        return lossless.from_plain(layer).why_input_is_needed()
    if isinstance(layer, nn.modules.dropout._DropoutNd) and not layer.training:
        return None
    if isinstance(layer, nn.modules.pooling._AdaptiveAvgPoolNd) and averages_all(layer.output_size):
        return None
    return _why_type_keeps(type(layer))


def _why_type_keeps(layer: type[nn.Module]) -> str | None:
    for kind in layer.__mro__:
        package, _, file = kind.__module__.rpartition(".")
        if kind in LEAN and kind not in _PRODUCTS:
            return f"{layer.__name__} overrides forward"
        if package == "torch.nn.modules" and file in REASONS:
            return f"{layer.__name__}: {REASONS[file]}"
    return None
