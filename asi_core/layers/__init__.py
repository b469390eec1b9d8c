"""Layers that keep their input compressed, and the surgery that puts them into a model."""

from typing import TYPE_CHECKING

from asi_core.lazy import lazy_names

if TYPE_CHECKING:
    from asi_core.layers import compressed, conv, lean, linear, shapes, surgery
else:
    __getattr__ = lazy_names(
        __name__, {m: m for m in ("compressed", "conv", "lean", "linear", "shapes", "surgery")}
    )

__all__ = ["compressed", "conv", "lean", "linear", "shapes", "surgery"]
