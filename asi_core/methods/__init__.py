"""The registry of methods. A new one is a file in this folder and a line in `AnyMethod`."""

from typing import Annotated, get_args

from pydantic import Field, TypeAdapter

from asi_core.methods.asi import ASI, Bits
from asi_core.methods.base import Method, WarmStart
from asi_core.methods.checkpointing import Checkpointing
from asi_core.methods.eight_bit import EightBit
from asi_core.methods.gradient_filter import GradientFilter
from asi_core.methods.hosvd import HOSVD
from asi_core.methods.vanilla import Vanilla

AnyMethod = Annotated[
    Vanilla | ASI | HOSVD | GradientFilter | EightBit | Checkpointing, Field(discriminator="kind")
]

METHODS: dict[str, type[Method]] = {
    method.model_fields["kind"].default: method for method in get_args(get_args(AnyMethod)[0])
}
METHOD_ADAPTER: TypeAdapter[Vanilla | ASI | HOSVD | GradientFilter | EightBit | Checkpointing] = (
    TypeAdapter(AnyMethod)
)
# What the paper compares; the others are what a user of PyTorch would pick instead.
PUBLISHED = ("vanilla", "asi", "hosvd", "gradient_filter")
# At which costs are compared unless others are given: batch, channel, height and width.
USUAL_RANKS = (16, 32, 4, 4)
# From which ranks are found unless something else is given.
USUAL_EXPLAINED_VARIANCE = 0.8

__all__ = [
    "ASI",
    "HOSVD",
    "METHODS",
    "METHOD_ADAPTER",
    "PUBLISHED",
    "USUAL_EXPLAINED_VARIANCE",
    "USUAL_RANKS",
    "AnyMethod",
    "Bits",
    "Checkpointing",
    "EightBit",
    "GradientFilter",
    "Method",
    "Vanilla",
    "WarmStart",
]
