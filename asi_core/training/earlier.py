"""Specifications as earlier versions wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asi_core.methods.registry import as_before_updates


def spec_before_updates(spec: Any) -> Any:
    """A stored specification from when ASI's factors were updated at every step: at first it was
    written without saying so, and means it still. What is no specification is returned as it is."""
    if not isinstance(spec, Mapping):
        return spec
    changed = dict(spec)
    if "method" in changed:
        changed["method"] = as_before_updates(changed["method"])
    if isinstance(layers := changed.get("own_layers"), list):
        changed["own_layers"] = [
            {**layer, "method": as_before_updates(layer["method"])}
            if isinstance(layer, Mapping) and "method" in layer
            else layer
            for layer in layers
        ]
    return changed
