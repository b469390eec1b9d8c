"""Preparing a network for compressed fine-tuning: one configuration, one call, one report."""

from typing import TYPE_CHECKING

from asi_core.compression.config import Compression
from asi_core.compression.report import LayerReport, OtherReport, PreparationReport
from asi_core.lazy import lazy_names

if TYPE_CHECKING:
    from asi_core.compression.prepare import prepare_
else:
    __getattr__ = lazy_names(__name__, {"prepare_": "prepare:prepare_"})

__all__ = ["Compression", "LayerReport", "OtherReport", "PreparationReport", "prepare_"]
