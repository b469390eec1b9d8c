"""Lossless layers that keep fewer bytes for backward than PyTorch's, and the surgery for them.

What a compressed layer no longer keeps of its input, its neighbours still do: a normalisation keeps
its input even where its gradient does not depend on it, and an activation keeps a number where one
bit would tell. The layers here give the same output and the same gradient to the last bit, because
they call PyTorch's own kernels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.autograd.function import once_differentiable
from torch.fx import GraphModule, Node

from asi_core.errors import InvalidInput
from asi_core.layers.compressed import CompressedLayer


class LeanLayer(nn.Module):
    """Mixed into a plain layer: its output and its gradient, bit for bit, from fewer bytes.

    Where no gradient is asked for, it is the plain layer, and nothing is kept. Its gradient cannot
    be differentiated again.

    Attributes:
        plain: the type of layer that this one replaces.
    """

    plain: ClassVar[type[nn.Module]]

    @classmethod
    def from_plain(cls, plain: nn.Module) -> Self:
        """Take over `plain`, with the same parameters and buffers (not copies)."""
        layer = cls.__new__(cls)
        layer.__dict__ = plain.__dict__.copy()
        return layer

    def to_plain(self) -> nn.Module:
        """The plain layer again, with the same parameters and buffers."""
        plain = self.plain.__new__(self.plain)
        plain.__dict__ = self.__dict__.copy()
        return plain


class LeanBatchNorm2d(LeanLayer, nn.BatchNorm2d):
    """A `nn.BatchNorm2d` that keeps nothing while its statistics and its affine map are fixed.

    The plain layer as soon as it is in training mode or its affine map is trained: those gradients
    need the input.
    """

    plain = nn.BatchNorm2d

    def forward(self, x: Tensor) -> Tensor:
        if not _needs_gradient(x) or _why_input_is_needed(self) is not None:
            return super().forward(x)
        self._check_input_dim(x)
        return cast(Tensor, _FixedNormalisation.apply(x, self))


class LeanReLU(LeanLayer, nn.ReLU):
    """A `nn.ReLU` that keeps one bit an element."""

    plain = nn.ReLU

    def forward(self, x: Tensor) -> Tensor:
        if not _needs_gradient(x):
            return super().forward(x)
        return cast(Tensor, _OneBitReLU.apply(x, self.inplace))


class LeanReLU6(LeanLayer, nn.ReLU6):
    """A `nn.ReLU6` that keeps one bit an element.

    At NaN, PyTorch's gradient is 0 where its kernel works on vectors and passes elsewhere. It is
    the same here if the gradient lies in memory as the input does, as in a network it does.
    """

    plain = nn.ReLU6

    def forward(self, x: Tensor) -> Tensor:
        if not _needs_gradient(x):
            return super().forward(x)
        return cast(Tensor, _OneBitReLU6.apply(x, self.inplace))


@dataclass(frozen=True, slots=True)
class LeanReport:
    """What `lean_` did.

    Attributes:
        replaced: names of the layers that are lean now, in registration order. A function called in
            a traced graph has become a layer of such a name.
        kept: name of a layer, or of a node of the traced graph -> why it keeps what it kept.
    """

    replaced: tuple[str, ...]
    kept: Mapping[str, str]


_LEAN: dict[type[nn.Module], type[LeanLayer]] = {
    kind.plain: kind for kind in (LeanBatchNorm2d, LeanReLU, LeanReLU6)
}


def lean_(model: nn.Module, names: Sequence[str] | None = None) -> LeanReport:
    """Make normalisations and activations of `model` keep fewer bytes, in place and lossless.

    To be called when it is settled what is trained, and in which mode. In a traced model, such as
    the tail of `split_frozen`, functions become layers as well. Any other model is traced to find
    the functions that it calls: no other thread may call a module meanwhile.

    Args:
        names: of the layers to replace; None for all, and for functions.

    Raises:
        InvalidInput: if the model has no layer of a name, or is a layer itself.
    """
    if type(model) in _LEAN:
        raise InvalidInput(
            "a lean layer must lie in a model", type(model).__name__, "put it into nn.Sequential"
        )
    if names is None:
        for module in list(model.modules()):
            if isinstance(module, GraphModule):
                _functions_to_layers_(module)
    chosen = _named_layers(model, names)
    replaced = _swap_(model, chosen)
    kept = {name: _why_kept(layer) for name, layer in chosen.items() if name not in replaced}
    if names is None:
        kept |= _called_functions(model)
    return LeanReport(replaced, {name: why for name, why in kept.items() if why is not None})


def unlean_(model: nn.Module) -> None:
    """Undo `lean_` in place: plain layers again. Functions that became layers remain layers."""
    plain: dict[nn.Module, nn.Module] = {}
    for name, layer in list(model.named_modules(remove_duplicate=False)):
        if isinstance(layer, LeanLayer) and name:
            model.set_submodule(name, plain.setdefault(layer, layer.to_plain()))


# Gradients ---------------------------------------------------------------------------------------


class _FixedNormalisation(torch.autograd.Function):
    """Normalisation by fixed numbers: its gradient depends on them only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.BatchNorm2d) -> Tensor:
        mean, variance, weight = layer.running_mean, layer.running_var, layer.weight
        ctx.save_for_backward(weight, mean, variance)
        ctx.eps, ctx.strides = layer.eps, x.stride()
        return F.batch_norm(x, mean, variance, weight, layer.bias, eps=layer.eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        weight, mean, variance = ctx.saved_tensors
        # The kernel wants the input, for its form alone: with it the order of the gradient's
        # numbers and, in half precision, their rounding change.
        like_input = grad_output
        if grad_output.stride() != ctx.strides:
            like_input = torch.empty_strided(
                grad_output.shape, ctx.strides, dtype=grad_output.dtype, device=grad_output.device
            )
        gradient, _, _ = torch.ops.aten.native_batch_norm_backward(
            grad_output,
            like_input,
            weight,
            mean,
            variance,
            None,
            None,
            False,
            ctx.eps,
            [True, False, False],
        )
        return gradient, None


class _OneBitReLU(torch.autograd.Function):
    """The gradient passes where the result is not zero, NaN included."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool) -> Tensor:
        if inplace:
            ctx.mark_dirty(x)
        output = F.relu(x, inplace=inplace)
        _keep_bits(ctx, output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return _passing(torch.ops.aten.threshold_backward, ctx, grad_output, 0.0), None


class _OneBitReLU6(torch.autograd.Function):
    """The gradient passes where the input is between 0 and 6, without them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, inplace: bool) -> Tensor:
        # Asked of the kernel itself: whether NaN passes depends on the place in the tensor.
        _keep_bits(ctx, torch.ops.aten.hardtanh_backward(x, x, 0.0, 6.0))
        if inplace:
            ctx.mark_dirty(x)
        return F.relu6(x, inplace=inplace)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return _passing(torch.ops.aten.hardtanh_backward, ctx, grad_output, 0.0, math.inf), None


def _needs_gradient(x: Tensor) -> bool:
    # The normalisation's kernel divides by the size of its input.
    return torch.is_grad_enabled() and x.requires_grad and x.numel() > 0


def _passing(kernel: Any, ctx: Any, grad_output: Tensor, *bounds: float) -> Any:
    """What a backward kernel lets pass of a gradient, with the kept bits in the input's place."""
    bits = _kept_bits(ctx, grad_output.dtype)
    if bits.stride() == grad_output.stride():
        # They lie as the result will, which is written over them.
        return kernel.grad_input(grad_output, bits, *bounds, grad_input=bits)
    return kernel(grad_output, bits, *bounds)


def _keep_bits(ctx: Any, values: Tensor) -> None:
    """Save which of `values` are not zero, one bit each."""
    # As dense as memory can be, in the order of the values' own modes; NaN counts as true.
    mask = values.to(torch.bool)
    ctx.shape, ctx.strides = mask.shape, mask.stride()
    ctx.save_for_backward(packed_bits(mask.as_strided((mask.numel(),), (1,))))


def _kept_bits(ctx: Any, dtype: torch.dtype) -> Tensor:
    """What `_keep_bits` saved, as numbers above zero and zeros in the values' form."""
    (packed,) = ctx.saved_tensors
    return unpacked_bits(packed).to(dtype).as_strided(ctx.shape, ctx.strides)


def packed_bits(mask: Tensor) -> Tensor:
    """A flat mask of n bools as ceil(n / 8) bytes: bit i of all bytes is its i-th eighth."""
    packed, missing = mask.view(torch.uint8), -len(mask) % 8
    if missing:
        packed = F.pad(packed, (0, missing))
    for shift in (4, 2, 1):
        low, high = packed.view(2, -1)
        packed = torch.add(low, high, alpha=1 << shift)
    return packed


def unpacked_bits(packed: Tensor) -> Tensor:
    """The mask again, in bytes that are zero or not; at its end up to 7 zeros more."""
    return (packed & _bits(packed)).view(-1)


def _bits(like: Tensor) -> Tensor:
    """1, 2, 4, ... 128, one below the other."""
    places = torch.arange(8, dtype=torch.uint8, device=like.device)
    return torch.ones_like(places).bitwise_left_shift(places).view(8, 1)


# Surgery -----------------------------------------------------------------------------------------

# What a layer of one of these files of torch.nn.modules keeps, and a function named like a layer.
_REASONS = {
    "activation": "its gradient needs its input or its result, not one bit of them",
    "batchnorm": "only a plain nn.BatchNorm2d has a lean form",
    "instancenorm": "its gradient needs its input",
    "normalization": "its gradient needs its input",
    "pooling": "PyTorch keeps its input, and it has no lean form",
    "dropout": "it is in training mode and keeps what it drops",
}
_FUNCTIONS = {
    kind.lower(): file for file in _REASONS for kind in getattr(nn.modules, file).__all__
} | {"batchnorm": "batchnorm", "clamp": "activation"}
# Functions and methods that a layer can stand for.
_LAYERS: dict[Any, type[nn.ReLU | nn.ReLU6]] = {
    F.relu: nn.ReLU,
    F.relu6: nn.ReLU6,
    torch.relu: nn.ReLU,
    torch.relu_: nn.ReLU,
    "relu": nn.ReLU,
    "relu_": nn.ReLU,
}
_IN_PLACE = (torch.relu_, "relu_")


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        is_told = isinstance(m, (CompressedLayer, *_LEAN))
        return is_told or super().is_leaf_module(m, module_qualified_name)


def _named_layers(model: nn.Module, names: Sequence[str] | None) -> dict[str, nn.Module]:
    """Layers by name; one that is registered twice has both of its names."""
    known = dict(model.named_modules(remove_duplicate=False))
    for name in names or ():
        if name not in known:
            raise InvalidInput(
                "lean layers must be layers of the model", repr(name), "see named_modules()"
            )
    return {name: layer for name, layer in known.items() if names is None or name in names}


def _swap_(model: nn.Module, chosen: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Replace what can be. A layer of two names, or called twice, becomes one lean layer."""
    lean: dict[nn.Module, nn.Module] = {}
    replaced = []
    for name, layer in chosen.items():
        if type(layer) in _LEAN and _why_kept(layer) is None:
            kind = _LEAN[type(layer)]
            model.set_submodule(name, lean.setdefault(layer, kind.from_plain(layer)))
            replaced.append(name)
    return tuple(replaced)


def _why_kept(layer: nn.Module) -> str | None:
    """Why a layer that keeps something cannot keep less; None if it can, or keeps nothing."""
    if isinstance(layer, LeanLayer) or type(layer) in _LEAN:
        return _why_input_is_needed(layer) if isinstance(layer, nn.BatchNorm2d) else None
    if isinstance(layer, nn.modules.dropout._DropoutNd) and not layer.training:
        return None
    if _averages_all(getattr(layer, "output_size", None), type(layer).__name__):
        return None
    for kind in type(layer).__mro__:
        package, _, file = kind.__module__.rpartition(".")
        if kind in _LEAN:
            return f"{type(layer).__name__} has a forward of its own"
        if package == "torch.nn.modules" and file in _REASONS:
            return f"{type(layer).__name__}: {_REASONS[file]}"
    return None


def _why_input_is_needed(norm: nn.BatchNorm2d) -> str | None:
    if norm.training:
        return "it is in training mode: its gradient needs its input"
    if norm.running_mean is None or norm.running_var is None:
        return "it has no running statistics: its gradient needs its input"
    if any(parameter.requires_grad for parameter in norm.parameters(recurse=False)):
        return "it trains its affine map, whose gradient needs its input"
    return None


def _functions_to_layers_(model: GraphModule) -> None:
    """Let layers do what functions with a lean form do in the graph."""
    for node in list(model.graph.nodes):
        kind = _layer_of(node)
        if kind is None:
            continue
        name = node.name
        while hasattr(model, name):
            name += "_"
        inplace = node.target in _IN_PLACE or _argument(node, 1, "inplace", False)
        model.add_submodule(name, kind(inplace).train(model.training))
        with model.graph.inserting_before(node):
            layer = model.graph.call_module(name, (_argument(node, 0, "input", None),))
        node.replace_all_uses_with(layer)
        model.graph.erase_node(node)
    model.recompile()


def _called_functions(model: nn.Module) -> dict[str, str | None]:
    """Functions that keep something, by the names of their nodes."""
    if isinstance(model, GraphModule):
        parts = [(name, m.graph) for name, m in model.named_modules() if isinstance(m, GraphModule)]
    else:
        try:
            parts = [("", _Tracer().trace(model))]
        except Exception:
            why = "torch.fx cannot trace it: the functions that it calls keep what they keep"
            return {"the model": why}
    return {
        f"{part}.{node.name}" if part else node.name: why
        for part, graph in parts
        for node, why in _functions_of(graph)
    }


def _functions_of(graph: fx.Graph) -> Iterator[tuple[Node, str]]:
    for node in graph.nodes:
        name = _function_name(node)
        file = _FUNCTIONS.get(name.replace("_", ""))
        if _layer_of(node) is not None:
            yield node, f"{name}: a function has a lean form only in a traced model"
        elif file == "dropout" and not _argument(node, 2, "training", True):
            continue
        elif file and not _averages_all(_argument(node, 1, "output_size", None), name):
            yield node, f"{name}: {_REASONS[file]}"


def _layer_of(node: Node) -> type[nn.ReLU | nn.ReLU6] | None:
    """The plain layer that does what a called function does, if it has a lean form."""
    return _LAYERS.get(node.target) if node.op in ("call_function", "call_method") else None


def _function_name(node: Node) -> str:
    """Of what a node calls, without the underscore of a change in place; empty if no function."""
    if node.op not in ("call_function", "call_method"):
        return ""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return str(name).strip("_").lower()


def _argument(node: Node, place: int, name: str, default: Any) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _averages_all(output_size: Any, name: str) -> bool:
    """Whether this is adaptive average pooling to a single position, which keeps nothing."""
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,)
    return name.replace("_", "").lower().startswith("adaptiveavgpool") and set(sizes) == {1}
