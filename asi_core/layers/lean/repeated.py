"""Layers that keep only their input and run again in backward.

Attention keeps its queries, keys, values, result and their like: several times its input. Run again
from its input it gives the same gradient, bit for bit, for one more forward pass of its own. If the
input itself is kept in few bits, the gradient is that of the layer at the rounded input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from asi_core.layers.compressed import outside_of_graph
from asi_core.layers.differentiating import once_differentiable, refuse_transforms
from asi_core.layers.lean.rounded import RoundedLayer
from asi_core.layers.lean.rounding import restored, rounded
from asi_core.layers.lean.subtypes import LeanSubtype

# Attributes of attention and dropout layers that say how much is dropped in training mode.
_DROPPED = ("p", "dropout", "attention_dropout")


class RepeatedLayer(LeanSubtype, RoundedLayer):
    """Mixin for a layer that keeps one input, whole or in few bits, and runs again in backward.

    Its output is the plain layer's, bit for bit, and its gradients too unless the input is rounded.
    It runs as the plain layer if it draws numbers, or if more than one of its arguments needs a
    gradient. Hooks on its parts are called again in backward.
    """

    def forward(self, *inputs: Any, **named: Any) -> Any:
        leaves, spec = tree_flatten((inputs, named))
        wanted = {id(leaf): leaf for leaf in leaves if _is_wanted(leaf)}
        trained = any(p.requires_grad for p in self.parameters())
        is_own = torch.is_grad_enabled() and self.why_input_is_needed() is None
        if not is_own or len(wanted) > 1 or not (wanted or trained):
            return self.plain.forward(self, *inputs, **named)
        refuse_transforms(self)
        x = next(iter(wanted.values()), leaves[0])
        call = _Call(self, leaves, spec, x)
        if torch.compiler.is_compiling():
            return outside_of_graph(_repeated, call, x)
        return _repeated(call, x)

    def why_input_is_needed(self) -> str | None:
        return "it draws numbers in training mode" if any(map(_draws, self.modules())) else None


class RepeatedAttention(RepeatedLayer):
    """Mixin for attention, which runs again while its own weights are frozen."""

    def why_input_is_needed(self) -> str | None:
        if any(parameter.requires_grad for parameter in self.parameters()):
            return "its own weights are trained"
        return super().why_input_is_needed()


class RoundedNorm(RepeatedLayer):
    """Mixin for a normalisation that keeps its input in few bits, trained or not."""


def _is_wanted(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.requires_grad and leaf.numel() > 0


def _draws(module: nn.Module) -> bool:
    dropped = (vars(module).get(name) for name in _DROPPED)
    return module.training and any(isinstance(d, (int, float)) and d > 0 for d in dropped)


class _Call:
    """One call of a layer as a function of one of its arguments.

    Attributes:
        constants: the other arguments that are tensors.
        made: how the layer's result is nested, once it has run.
    """

    made: TreeSpec

    def __init__(
        self, layer: RepeatedLayer, leaves: Sequence[Any], spec: TreeSpec, x: Tensor
    ) -> None:
        self.layer, self._spec = layer, spec
        # Not attributes of the call while backward is awaited: kept where meters see them.
        self.constants = [a for a in leaves if isinstance(a, Tensor) and a is not x]
        self._is_input = [a is x for a in leaves]
        self._others = [_TENSOR if isinstance(a, Tensor) else a for a in leaves]

    def outputs(self, x: Tensor, constants: Sequence[Tensor]) -> tuple[Any, ...]:
        """The layer's results, one after the other."""
        rest = iter(constants)
        leaves = [
            x if is_input else next(rest) if other is _TENSOR else other
            for is_input, other in zip(self._is_input, self._others, strict=True)
        ]
        inputs, named = tree_unflatten(leaves, self._spec)
        made, self.made = tree_flatten(self.layer.plain.forward(self.layer, *inputs, **named))
        return tuple(made)


# Stands for an argument that is a tensor.
_TENSOR = object()


def _repeated(call: _Call, x: Tensor) -> Any:
    constants, call.constants = call.constants, []
    made = _Repeated.apply(call, x, *call.layer.parameters(), *constants)
    return tree_unflatten(list(made), call.made)


class _Repeated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, x: Tensor, *others: Tensor) -> tuple[Any, ...]:
        ctx.call, bits = call, call.layer.bits
        ctx.parameters = len(list(call.layer.parameters()))
        ctx.is_whole = bits is None
        device = x.device.type
        ctx.autocast = device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
        # With gradients, because PyTorch's attention rounds differently without; none is kept.
        with torch.enable_grad(), saved_tensors_hooks(lambda tensor: None, lambda kept: kept):
            outputs = call.outputs(x.detach().requires_grad_(), others[ctx.parameters :])
        kept = (x,) if bits is None else rounded(ctx, x, bits)
        ctx.save_for_backward(*others, *kept)
        return tuple(o.detach() if isinstance(o, Tensor) else o for o in outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        count = len(ctx.needs_input_grad) - 2
        others, kept = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        x = kept[0].detach() if ctx.is_whole else restored(ctx, *kept)
        device, dtype, enabled = ctx.autocast
        with torch.enable_grad(), torch.autocast(device, dtype=dtype, enabled=enabled):
            outputs = ctx.call.outputs(x.requires_grad_(), others[ctx.parameters :])
        pairs = [
            (made, gradient)
            for made, gradient in zip(outputs, gradients, strict=True)
            if isinstance(made, Tensor) and made.requires_grad and gradient is not None
        ]
        wanted = [x, *(p for p in others if p.requires_grad)]
        found = iter(torch.autograd.grad([m for m, _ in pairs], wanted, [g for _, g in pairs]))
        return None, next(found), *(next(found) if p.requires_grad else None for p in others)
