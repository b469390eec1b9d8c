"""Settings of lean layers, without torch."""

from __future__ import annotations

from typing import Literal

from asi_core.errors import InvalidInput

# Bits per element in which activations and normalisations keep what their gradients need.
ActivationBits = Literal[8, 4]
_BITS = (8, 4)


def check_lean_settings(
    activation_bits: int | None, recompute_attention: bool, *, lean: bool = True
) -> None:
    """Check settings of lean layers.

    Raises:
        InvalidInput: if there is no such number of bits, or if `lean` is off and one is set.
    """
    if activation_bits is not None and activation_bits not in _BITS:
        raise InvalidInput(
            "activation bits must be 8 or 4",
            activation_bits,
            "choose one, or None for exact gradients",
        )
    if not lean and (activation_bits is not None or recompute_attention):
        raise InvalidInput(
            "activation bits and recomputed attention need lean layers",
            "lean=False",
            "leave them out, or set lean=True",
        )
