"""Tensor maths of the compression: unfoldings, Tucker forms, spectra and gradients.

Importing this package does not import torch; its modules do, when they are first used.
"""

from typing import TYPE_CHECKING

from asi_core.lazy import lazy_names

_MODULES = (
    *("gradients", "orders", "patches", "quantisation", "spectra", "subtokens", "tucker"),
    *("unfolding", "updates"),
)

if TYPE_CHECKING:
    from asi_core.linalg import (
        gradients,
        orders,
        patches,
        quantisation,
        spectra,
        subtokens,
        tucker,
        unfolding,
        updates,
    )
else:
    __getattr__ = lazy_names(__name__, {m: m for m in _MODULES})

__all__ = [
    "gradients",
    "orders",
    "patches",
    "quantisation",
    "spectra",
    "subtokens",
    "tucker",
    "unfolding",
    "updates",
]
