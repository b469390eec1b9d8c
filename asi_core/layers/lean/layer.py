"""The base class of all lean layers."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from asi_core.layers.differentiating import refuse_transforms


class LeanLayer(nn.Module):
    """Mixin for a plain layer with the same output and gradient, bit for bit, from fewer bytes.

    Where no gradient is needed it behaves as the plain layer, and nothing is kept. Its gradient
    cannot be differentiated again.

    Attributes:
        plain: the type of layer that this one replaces.
        own_attributes: names of attributes that the plain layer does not have.
        overwrites_gradient: whether the gradient of its output is nobody else's, so that the
            gradient of its input may overwrite it, if the layer has a use for that.
    """

    plain: ClassVar[type[nn.Module]]
    own_attributes: ClassVar[tuple[str, ...]] = ("overwrites_gradient", "returns_view")
    overwrites_gradient: bool = False

    @classmethod
    def from_plain(cls, plain: nn.Module) -> Self:
        """Make the layer from `plain`, with the same parameters and buffers (not copies)."""
        layer = cls.__new__(cls)
        layer.__dict__ = plain.__dict__.copy()
        return layer

    def to_plain(self) -> nn.Module:
        """The plain layer, with the same parameters and buffers."""
        plain = self.plain.__new__(self.plain)
        own = self.own_attributes
        plain.__dict__ = {name: v for name, v in self.__dict__.items() if name not in own}
        return plain

    def why_input_is_needed(self) -> str | None:
        """Why the layer, as currently set, keeps what the plain one keeps; None if it keeps
        less."""
        return None

    def keeps_less(self) -> bool:
        """Whether the layer, as currently set, is known to keep less than the plain one."""
        return self.why_input_is_needed() is None


def needs_gradient(x: Tensor, layer: LeanLayer) -> bool:
    """Whether `layer` is to keep anything for a gradient with respect to `x`.

    Raises:
        Unsupported: if it is, within a transform of `torch.func`.
    """
    if torch.is_grad_enabled():
        refuse_transforms(layer)
    # The normalisation's kernel divides by the size of its input.
    return torch.is_grad_enabled() and x.requires_grad and x.numel() > 0
