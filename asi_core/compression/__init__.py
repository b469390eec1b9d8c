"""Preparing a network for compressed fine-tuning: one configuration, one call, one report."""

from typing import TYPE_CHECKING

from asi_core.compression.config import Compression
from asi_core.compression.report import LayerReport, OtherReport, PreparationReport
from asi_core.lazy import lazy_names

if TYPE_CHECKING:
    from asi_core.compression.prepare import prepare_
    from asi_core.compression.profile import profile
    from asi_core.compression.verbs import estimate, measure
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "estimate": "verbs:estimate",
            "measure": "verbs:measure",
            "prepare_": "prepare:prepare_",
            "profile": "profile:profile",
        },
    )

__all__ = [
    "Compression",
    "LayerReport",
    "OtherReport",
    "PreparationReport",
    "estimate",
    "measure",
    "prepare_",
    "profile",
]
