"""Replacing the layers of a model by lean ones, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn
from torch.fx import GraphModule

from asi_core.errors import InvalidInput
from asi_core.layers.lean.conv_norm import CompressedConvNorm2d
from asi_core.layers.lean.functions import called_functions, functions_to_layers_, traced_graph
from asi_core.layers.lean.layer import LeanLayer
from asi_core.layers.lean.overwriting import overwrite_inputs_
from asi_core.layers.lean.pairing import pair_norms_
from asi_core.layers.lean.reasons import why_kept
from asi_core.layers.lean.registry import LeanForms
from asi_core.layers.lean.repeated import RepeatedAttention
from asi_core.layers.lean.rounded import RoundedLayer
from asi_core.layers.lean_settings import check_lean_settings


@dataclass(frozen=True, slots=True)
class LeanReport:
    """What `lean_` did.

    Attributes:
        replaced: names of the layers that are lean now, in registration order, followed by
            normalisations that a convolution computes. A function called in a traced graph has
            become a layer.
        rounded: names of the layers whose gradients are approximate now -> what they keep in how
            many bits.
        kept: name of a layer, or of a node of the traced graph -> why it keeps as much as before.
    """

    replaced: tuple[str, ...]
    kept: Mapping[str, str]
    rounded: Mapping[str, int] = field(default_factory=dict)


def lean_(
    model: nn.Module,
    names: Sequence[str] | None = None,
    *,
    fold: bool = False,
    activation_bits: int | None = None,
    recompute_attention: bool = False,
) -> LeanReport:
    """Make normalisations and activations of `model` keep fewer bytes, in place.

    It is lossless unless `activation_bits` are given.

    Call it after choosing what is trained, and in which mode. In a traced model, such as the tail
    of `split_frozen`, functions become layers as well. There, a normalisation with a trained affine
    map keeps nothing if it follows a trained convolution directly: that convolution then computes
    both (`lean.conv_norm`), and gradients are equal up to rounding. Hooks on such a convolution
    receive the normalisation's output, as do other callers. Any other model is traced to find the
    functions that it calls: no other thread may call a module meanwhile.

    Args:
        names: of the layers to replace; None for all layers and functions.
        fold: whether a compressed convolution of a traced model also computes a frozen
            normalisation after it, in one pass where that is faster. Results are equal up to
            rounding, in a layer whose weight gradient is approximate anyway.
        activation_bits: 8 or 4 lets activations such as GELU and SiLU keep their slope, and layer
            and group normalisations their input, in so many bits per element: outputs stay exact,
            gradients become approximate. None leaves them as they are.
        recompute_attention: whether frozen attention keeps only its input and runs again in
            backward: the same gradients. With `activation_bits` that input is rounded too.

    Raises:
        InvalidInput: if the model has no layer of such a name, or is a layer itself, or if there is
            no such number of bits.
    """
    check_lean_settings(activation_bits, recompute_attention)
    forms = LeanForms(activation_bits, recompute_attention)
    if forms.of(type(model)) is not None:
        raise InvalidInput(
            "a lean layer must lie in a model", type(model).__name__, "put it into nn.Sequential"
        )
    if names is not None:
        return lean_layers_(model, names, forms)
    paired: list[str] = []
    for name, module in list(model.named_modules()):
        if isinstance(module, GraphModule):
            functions_to_layers_(module)
            norms = pair_norms_(module, module.graph, fold=fold)
            paired += [f"{name}.{norm}".lstrip(".") for norm in norms]
    graph = None if isinstance(model, GraphModule) else traced_graph(model)
    if graph is not None:
        paired += pair_norms_(model, graph, fold=fold)
    report = lean_layers_(model, None, forms)
    for module in model.modules():
        if isinstance(module, GraphModule):
            overwrite_inputs_(module)
    functions = {n: why for n, why in called_functions(model, graph).items() if why is not None}
    return LeanReport((*report.replaced, *paired), {**report.kept, **functions}, report.rounded)


def lean_layers_(
    model: nn.Module, names: Sequence[str] | None = None, forms: LeanForms | None = None
) -> LeanReport:
    """Make layers of `model` lean, in place: `lean_` without checking the functions it calls."""
    chosen = _named_layers(model, names)
    now = _swap_(model, chosen, forms or LeanForms())
    kept = {name: why_kept(layer) for name, layer in now.items()}
    changed = {name: layer for name, layer in now.items() if layer is not chosen[name]}
    return LeanReport(
        tuple(
            n for n, layer in changed.items() if isinstance(layer, LeanLayer) and layer.keeps_less()
        ),
        {name: why for name, why in kept.items() if why is not None},
        {name: bits for name, layer in now.items() if (bits := _bits_of(layer)) is not None},
    )


def _bits_of(layer: nn.Module) -> int | None:
    """In how many bits a layer keeps what its gradient needs; None if that is exact."""
    if isinstance(layer, RoundedLayer) and layer.why_input_is_needed() is None:
        return layer.bits
    return None


def repeat_attention_(model: nn.Module, forms: LeanForms) -> None:
    """Only the attention of `model`, in place: for a model that is traced afterwards, because a
    trace may go through attention and leave its functions."""
    names = [n for n, m in model.named_modules() if forms.of(type(m)) is RepeatedAttention]
    lean_layers_(model, names, forms)


def unlean_(model: nn.Module) -> None:
    """Undo `lean_` in place: restores plain layers. Functions that became layers remain layers."""
    plain: dict[nn.Module, nn.Module] = {}
    for name, layer in list(model.named_modules(remove_duplicate=False)):
        if isinstance(layer, LeanLayer) and name:
            model.set_submodule(name, plain.setdefault(layer, layer.to_plain()))
        elif isinstance(layer, CompressedConvNorm2d):
            is_own = layer.method.replaces_layers
            model.set_submodule(name, layer.alone() if is_own else layer.to_plain())


def _named_layers(model: nn.Module, names: Sequence[str] | None) -> dict[str, nn.Module]:
    """Layers by name; one that is registered twice is listed under both names."""
    known = dict(model.named_modules(remove_duplicate=False))
    for name in names or ():
        if name not in known:
            raise InvalidInput(
                "lean layers must be layers of the model", repr(name), "see named_modules()"
            )
    return {name: layer for name, layer in known.items() if names is None or name in names}


def _swap_(
    model: nn.Module, chosen: Mapping[str, nn.Module], forms: LeanForms
) -> dict[str, nn.Module]:
    """Replace what has a lean form, also where it keeps everything as it is set now: what is frozen
    later keeps less then. A layer of two names, or called twice, becomes one lean layer."""
    lean: dict[nn.Module, nn.Module] = {}
    for name, layer in chosen.items():
        if layer not in lean:
            made = forms.made(layer) if name else None
            if made is None:
                continue
            lean[layer] = made
        model.set_submodule(name, lean[layer])
    return {name: lean.get(layer, layer) for name, layer in chosen.items()}
