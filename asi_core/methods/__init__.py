"""Methods: what is kept of a trained layer's input, and the gradients computed from it.

A new one is a file in this folder and a line in `registry`; or a class in a package of its own,
with an entry point or `register_method`.
"""

from asi_core.methods.asi import ASI, Bits
from asi_core.methods.base import Method, MethodStyle, WarmStart
from asi_core.methods.checkpointing import Checkpointing
from asi_core.methods.eight_bit import EightBit
from asi_core.methods.gradient_filter import GradientFilter
from asi_core.methods.hosvd import HOSVD
from asi_core.methods.registry import (
    METHOD_ADAPTER,
    METHODS,
    AnyMethod,
    as_method,
    method_class,
    register_method,
)
from asi_core.methods.tucker_settings import USUAL_EXPLAINED_VARIANCE, USUAL_RANKS
from asi_core.methods.vanilla import Vanilla

# What every other method is compared with.
REFERENCE_KIND = Vanilla.class_kind()
# What the paper compares; the others are what a user of PyTorch would pick instead.
PUBLISHED = tuple(method.class_kind() for method in (Vanilla, ASI, HOSVD, GradientFilter))

__all__ = [
    "ASI",
    "HOSVD",
    "METHODS",
    "METHOD_ADAPTER",
    "PUBLISHED",
    "REFERENCE_KIND",
    "USUAL_EXPLAINED_VARIANCE",
    "USUAL_RANKS",
    "AnyMethod",
    "Bits",
    "Checkpointing",
    "EightBit",
    "GradientFilter",
    "Method",
    "MethodStyle",
    "Vanilla",
    "WarmStart",
    "as_method",
    "method_class",
    "register_method",
]
