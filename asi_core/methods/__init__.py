"""Methods: what is kept of a trained layer's input, and the gradients computed from it.

To add one, write a file in this folder and add a line to `registry`. A method can also be a class
in another package, found by its entry point or by `register_method`.
"""

from asi_core.methods.asi import ASI, Bits
from asi_core.methods.base import Method, MethodStyle, WarmStart
from asi_core.methods.checkpointing import Checkpointing
from asi_core.methods.eight_bit import EightBit
from asi_core.methods.fixed_subspace import FixedSubspace
from asi_core.methods.gradient_filter import GradientFilter
from asi_core.methods.hosvd import HOSVD
from asi_core.methods.lora import LoRA, LoRAFA, LoRAOverASI
from asi_core.methods.registry import (
    METHOD_ADAPTER,
    METHODS,
    AnyMethod,
    as_method,
    method_class,
    register_method,
)
from asi_core.methods.sparse import Sparse
from asi_core.methods.tucker_settings import USUAL_EXPLAINED_VARIANCE, USUAL_RANKS
from asi_core.methods.vanilla import Vanilla
from asi_core.methods.velora import VeLoRA
from asi_core.methods.wasi import WASI

# The baseline of all comparisons.
REFERENCE_KIND = Vanilla.class_kind()
# The methods that the paper compares. The others are common alternatives in PyTorch.
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
    "WASI",
    "AnyMethod",
    "Bits",
    "Checkpointing",
    "EightBit",
    "FixedSubspace",
    "GradientFilter",
    "LoRA",
    "LoRAFA",
    "LoRAOverASI",
    "Method",
    "MethodStyle",
    "Sparse",
    "Vanilla",
    "VeLoRA",
    "WarmStart",
    "as_method",
    "method_class",
    "register_method",
]
