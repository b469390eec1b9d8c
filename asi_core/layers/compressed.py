"""The base class of layers that keep what their method keeps, instead of their input."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from math import ceil, prod
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo
from torch.fx import Proxy

from asi_core import linalg
from asi_core.errors import Unsupported
from asi_core.layers.differentiating import once_differentiable, refuse_transforms
from asi_core.methods.base import Method, Saved, WarmStart
from asi_core.records import Geometry, LinearGeometry, Ranks

# Attributes that a plain layer does not have.
_OWN = (
    *("plain", "method", "memory", "ranks", "was_called", "watcher"),
    *("overwrites_input", "overwrites_gradient"),
)
# Into how many parts a batch is divided whose results overwrite it.
_PARTS = 8


class CompressedLayer(nn.Module):
    """Mixin for a plain layer whose input is kept compressed from forward to backward.

    The output is that of the plain layer, bit for bit. Nothing is kept in evaluation (without
    gradients), and of a frozen layer only its weight. `torch.compile` leaves the layer as it is;
    `torch.func`, a second derivative and `torch.fx` are refused.

    A state dict has the plain layer's keys. The warm start is no part of it (`warm_starts`).

    When `torch.utils.checkpoint` runs the forward pass again, it starts from the state at the
    beginning of the step, so that gradients equal those without checkpointing. For a layer called
    several times in one step, it starts from the state before the last call.

    Attributes:
        plain: the type of layer that this one replaces: PyTorch's, or one that computes as it does.
        method: how the input is kept and both gradients are computed.
        memory: what is carried to the next step.
        ranks: the multilinear rank kept in the latest training step, None before it.
        was_called: whether it has taken part in a training step.
        overwrites_input: whether nobody else reads the input, so that an output of its shape may
            overwrite it.
        overwrites_gradient: whether the gradient of its output is nobody else's, so that the
            gradient of its input may overwrite it.
        watcher: called in each training step with a tensor and a factor, or None for 1: the
            tensor's gradient, times the factor channel by channel, is that of the product's output.
    """

    plain: type[nn.Module]
    method: Method
    memory: WarmStart
    ranks: Ranks | None
    was_called: bool = False
    overwrites_input: bool = False
    overwrites_gradient: bool = False
    watcher: Callable[[Tensor, Tensor | None], None] | None = None
    weight: Tensor
    bias: Tensor | None

    @classmethod
    def from_plain(cls, plain: nn.Module, method: Method, seed: int) -> Self:
        """Make the layer from `plain`, with the same parameters (not copies)."""
        layer = cls.__new__(cls)
        layer.__dict__ = plain.__dict__.copy()
        layer.plain = type(plain)
        layer.method = method
        layer.memory = WarmStart(seed=seed)
        layer.ranks = None
        return layer

    def to_plain(self) -> nn.Module:
        """The plain layer, with the same parameters."""
        plain = self.plain.__new__(self.plain)
        plain.__dict__ = self.__dict__.copy()
        for name in _OWN:
            plain.__dict__.pop(name, None)
        return plain

    def remember_(self, memory: WarmStart) -> None:
        """Start from what `memory` says."""
        self.memory = memory

    def plan_(self, ranks: Ranks) -> None:
        """Use planned ranks from now on."""
        self.remember_(replace(self.memory, ranks=ranks))

    @property
    def is_trained(self) -> bool:
        """Whether gradients are computed from what the method keeps."""
        return self.weight.requires_grad

    @property
    def geometry(self) -> Geometry:
        """The layer's geometry on its input after `padded`."""
        raise NotImplementedError

    def padded(self, x: Tensor) -> Tensor:
        """The input as the product receives it."""
        return x

    def padded_backward(self, gradient: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """The gradient of `padded`'s input, of `input_shape`, from the gradient of its output."""
        return gradient

    @staticmethod
    def product(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        """The layer's output."""
        raise NotImplementedError

    # Named as in PyTorch's own layers, which may be called by keyword.
    def forward(self, input: Tensor) -> Tensor:
        if isinstance(cast(Any, input), Proxy):
            raise Unsupported(
                f"torch.fx cannot trace through a {type(self).__name__}: trace the model before it "
                "is compressed, or with asi_core.layers.lean.LayerTracer."
            )
        if torch.is_grad_enabled() and self.is_trained:
            self.was_called = True
        if not self._needs_gradient(input):
            self.memory.initialised = False
            return self.plain_output(input)
        if torch.compiler.is_compiling():
            return cast(Tensor, outside_of_graph(self.training_output, input))
        return self.training_output(input)

    def _needs_gradient(self, x: Tensor) -> bool:
        """Whether a gradient will be computed for the input, the weight or the bias."""
        tensors = (x, self.weight, self.bias)
        wanted = any(t is not None and t.requires_grad for t in tensors)
        return torch.is_grad_enabled() and wanted and x.numel() > 0

    def training_output(self, x: Tensor) -> Tensor:
        """The output in a training step, whether the weight is trained or frozen."""
        refuse_transforms(self)
        if self.weight.requires_grad:
            return self.compressed_output(x)
        self.memory.initialised = False
        return self.frozen_output(x)

    def plain_output(self, x: Tensor) -> Tensor:
        """The output of the plain layer, which keeps its whole input."""
        return cast(Tensor, super().forward(x))

    def frozen_output(self, x: Tensor) -> Tensor:
        """The output while the weight is frozen: gradients need the weight and no input."""
        return self._product_of(x)

    def compressed_output(self, x: Tensor) -> Tensor:
        """The output while the weight is trained; its input is kept compressed."""
        output = self._product_of(x)
        if self.watcher is not None:
            self.watcher(output, None)
        return output

    def _product_of(self, x: Tensor) -> Tensor:
        return compressed_product(self, x, self.weight, self.bias)

    def compress(self, x: Tensor, output_shape: tuple[int, ...]) -> Saved:
        """What the method keeps of `x`, batched and padded; also records the ranks in use."""
        saved = self.method.compress(x, output_shape, self.geometry, self.memory_of_step())
        self.ranks = self.method.ranks_of(saved)
        return saved

    def memory_of_step(self) -> WarmStart:
        """The memory to start from; while backward runs, a copy for the repeated pass.

        A forward pass within backward is a checkpoint's. It must not start from the state that the
        first pass led to. If it repeats one without gradients, it is the first of the step.
        """
        if torch._C._current_graph_task_id() == -1:
            self.memory.initialised = True
        elif self.memory.initialised:
            return replace(self.memory, is_repeated=True)
        return self.memory

    def extra_repr(self) -> str:
        own: str = super().extra_repr()
        kept = "" if self.ranks is None else f", ranks {'·'.join(map(str, self.ranks))}"
        return f"{own}, {self.method.settings_label}{kept}"


# The public `torch.compiler.disable` imports the compiler immediately, which takes seconds.
@_disable_dynamo
def outside_of_graph(output_of: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a layer returns, without `torch.compile` looking into it."""
    return output_of(*arguments)


def compressed_product(layer: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product of `layer`, of which its method keeps the input while the weight is trained.

    Args:
        layer: a compressed layer, or what stands for one call of it.
    """
    operands = in_autocast_type(x, weight, bias)
    with torch.autocast(x.device.type, enabled=False):
        return cast(Tensor, _CompressedProduct.apply(*operands, layer))


def in_autocast_type(x: Tensor, *others: Tensor | None) -> list[Tensor | None]:
    """The operands of a product in the precision in which autocast computes it, if it is on."""
    device, operands = x.device.type, [x, *others]
    if not torch.is_autocast_enabled(device):
        return operands
    # As autocast does for a plain layer: the lower precision is used to compute, and kept.
    lower = torch.get_autocast_dtype(device)
    return [t if t is None else _cast(t, lower) for t in operands]


class _CompressedProduct(torch.autograd.Function):
    """Exact forward; gradients by the layer's method, from what it kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: Any) -> Tensor:
        geometry = layer.geometry
        padded = layer.padded(x)
        ctx.is_batched = has_batch(x, geometry)
        met = padded if ctx.is_batched else padded[None]
        made_shape = geometry.output_shape(tuple(met.shape), tuple(weight.shape))
        # First, so that what it needs in between and the output are not there at once.
        kept = kept_of(layer, met, made_shape) if ctx.needs_input_grad[1] else ()
        if may_overwrite(layer, x, made_shape, kept):
            ctx.mark_dirty(x)
            output = overwritten(x, lambda part: layer.product(part, weight, bias, geometry))
        else:
            output = _without_base(layer.product(padded, weight, bias, geometry))
        ctx.save_for_backward(weight, *kept)
        ctx.overwrites_gradient = layer.overwrites_gradient and layer.watcher is None
        ctx.layer, ctx.method, ctx.geometry = layer, layer.method, geometry
        ctx.input_shape, ctx.met_shape = tuple(x.shape), tuple(met.shape)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        # Forward has already chosen the precisions, wherever backward is called.
        with torch.autocast(grad_output.device.type, enabled=False):
            return _gradients(ctx, grad_output if ctx.is_batched else grad_output[None])


def may_overwrite(
    layer: Any, x: Tensor, output_shape: tuple[int, ...], kept: Iterable[Tensor | None]
) -> bool:
    """Whether the output of a layer may overwrite its input `x`, of which `kept` is kept."""
    if not layer.overwrites_input or layer.watcher is not None or not _is_worth_it(x, layer.weight):
        return False
    place = x.untyped_storage()._cdata
    is_free = all(t is None or t.untyped_storage()._cdata != place for t in kept)
    return is_free and tuple(x.shape) == output_shape and layer.padding_mode == "zeros"


def overwritten(tensor: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """`tensor`, overwritten by a function of it, a part of the batch after the other."""
    for part in tensor.split(ceil(len(tensor) / _PARTS)):
        part.copy_(compute(part))
    return tensor


def _is_worth_it(tensor: Tensor, weight: Tensor) -> bool:
    """Whether computing in parts saves memory for little time: each part reads the weight."""
    return len(tensor) > 1 and _PARTS * weight.numel() <= tensor.numel()


def _without_base(output: Tensor) -> Tensor:
    """The same numbers in the same memory, but no view: PyTorch refuses to change a view in place
    that a function like this one returns, and the product of more than two modes is one."""
    if not output._is_view():
        return output
    return cast(Tensor, torch.ops.aten._unsafe_view(output, output.shape))


def has_batch(x: Tensor, geometry: Geometry) -> bool:
    """Whether `x` has a batch mode; a plain layer reads one mode less as a single example."""
    return x.dim() != (1 if isinstance(geometry, LinearGeometry) else 3)


def kept_of(layer: Any, x: Tensor, output_shape: tuple[int, ...]) -> Saved:
    """What is kept of `x`, in its own precision if that has the range."""
    precise = single(x)
    first, *others = layer.compress(precise, output_shape)
    if first is precise:
        first = x
    elif first is not None and x.dtype != torch.float16:
        # Cores and window sums are sums over the input, which may exceed the range of float16.
        first = _narrowed(first, x.dtype)
    return (first, *(None if t is None else _narrowed(t, x.dtype) for t in others))


def _narrowed(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """`tensor` in `dtype`, unless it is narrower already: a method may keep less."""
    return tensor if tensor.dtype.itemsize <= dtype.itemsize else tensor.to(dtype)


def _gradients(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    weight, *saved = ctx.saved_tensors
    method: Method = ctx.method
    needs_input, needs_weight, needs_bias, _ = ctx.needs_input_grad
    grad_bias = None
    if needs_bias:
        grad_bias = grad_output.sum(dim=_all_but_channels(grad_output, ctx.geometry))

    def of_weight() -> Tensor:
        return method.weight_gradient(
            tuple(None if t is None else single(t) for t in saved),
            single(grad_output),
            tuple(weight.shape),
            ctx.geometry,
        ).to(weight.dtype)

    def of_input() -> Tensor:
        # What approximates the input gradient belongs to a trained layer.
        function = method.input_gradient if needs_weight else linalg.gradients.input_gradient
        grad_met = input_gradient(ctx, function, grad_output, weight, ctx.met_shape)
        grad_met = grad_met if ctx.is_batched else grad_met[0]
        return cast(Tensor, ctx.layer.padded_backward(grad_met, ctx.input_shape))

    grad_input, grad_weight = smaller_first(
        of_input if needs_input else None,
        of_weight if needs_weight else None,
        ctx,
        grad_output,
        weight,
    )
    return grad_input, grad_weight, grad_bias, None


def smaller_first(
    of_input: Callable[[], Tensor] | None,
    of_weight: Callable[[], Tensor] | None,
    ctx: Any,
    grad_output: Tensor,
    weight: Tensor,
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of input and weight, the smaller one first: it waits for the other.

    The input's comes last where it may overwrite the output's, which the weight's needs.
    """
    overwrites = _overwrites(ctx, grad_output, weight, ctx.input_shape)
    if prod(ctx.input_shape) < weight.numel() and not overwrites:
        grad_input = None if of_input is None else of_input()
        return grad_input, None if of_weight is None else of_weight()
    grad_weight = None if of_weight is None else of_weight()
    return None if of_input is None else of_input(), grad_weight


def input_gradient(
    ctx: Any,
    of_input: Callable[..., Tensor],
    grad_output: Tensor,
    weight: Tensor,
    met_shape: tuple[int, ...],
) -> Tensor:
    """The input gradient, in the place of the output gradient if that may be overwritten."""
    if _overwrites(ctx, grad_output, weight, met_shape):
        return overwritten(
            grad_output,
            lambda part: of_input(part, weight, (len(part), *met_shape[1:]), ctx.geometry),
        )
    return of_input(grad_output, weight, met_shape, ctx.geometry)


def _overwrites(ctx: Any, grad_output: Tensor, weight: Tensor, met_shape: tuple[int, ...]) -> bool:
    is_free = ctx.overwrites_gradient and tuple(grad_output.shape) == tuple(met_shape)
    return is_free and _is_worth_it(grad_output, weight)


def single(tensor: Tensor) -> Tensor:
    """Half precisions as float32: decompositions and small contractions need its precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _cast(tensor: Tensor, lower: torch.dtype) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.to(lower)


def _all_but_channels(grad_output: Tensor, geometry: Geometry) -> list[int]:
    channel = geometry.channel_mode(grad_output.dim())
    return [mode for mode in range(grad_output.dim()) if mode != channel]
