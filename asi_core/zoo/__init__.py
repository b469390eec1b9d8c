"""Models, and the sources of their weights.

`cards` holds the facts, `shapes` the sizes of layers and `weights` finds files; the other modules
import torch.
"""

from typing import TYPE_CHECKING

from asi_core.lazy import lazy_names

if TYPE_CHECKING:
    from asi_core.zoo import build, cards, checkpoints, shapes, tracing, weights
else:
    __getattr__ = lazy_names(
        __name__, {m: m for m in ("build", "cards", "checkpoints", "shapes", "tracing", "weights")}
    )

__all__ = ["build", "cards", "checkpoints", "shapes", "tracing", "weights"]
