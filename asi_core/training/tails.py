"""The trained part of a network, as a run's specification has it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from asi_core.layers.freezing import train_only_
from asi_core.layers.lean import LeanForms, lean_, repeat_attention_, unlean_
from asi_core.layers.patterns import chosen_layers
from asi_core.layers.surgery import compress_
from asi_core.methods import Method, Vanilla
from asi_core.training.checkpointing import repeated_blocks
from asi_core.training.frozen import FrozenStart, frozen_start
from asi_core.training.layout import Layout, in_layout_, named_layout
from asi_core.training.spec import RunSpec
from asi_core.zoo.cards import model_card


@dataclass(frozen=True, slots=True)
class SplitNetwork:
    """A network split where training begins, before its trained part is made lean.

    Attributes:
        layer_names: of the trained layers, in registration order.
    """

    start: FrozenStart
    layer_names: list[str]


def split_network(spec: RunSpec, model: nn.Module) -> SplitNetwork:
    """Choose what is trained, compress it, and split the network there, in place."""
    card = model_card(spec.model)
    names = chosen_layers(card.trainable_names(model.named_modules()), spec.layers)
    names = compress_(model, layer_method(spec), layers=names, lean=False)
    train_only_(model, names, card.heads, train_norm=spec.train_norm)
    # Before the split: a trace may dissolve attention into functions.
    repeat_attention_(model, LeanForms(spec.activation_bits, spec.recompute_attention))
    start = frozen_start(model)
    if start.parts is not None:
        # It keeps nothing anyway, and its features are those of plain layers.
        unlean_(start.parts.prefix)
    return SplitNetwork(start, names)


def layer_method(spec: RunSpec) -> Method:
    """The method of each trained layer: where blocks are repeated, layers are plain ones."""
    return Vanilla() if spec.method.repeats_blocks else spec.method


def lean_tail_(spec: RunSpec, tail: nn.Module) -> Layout:
    """Make a tail's layers lean and convert it to its memory layout, in place; returns that."""
    if spec.lean:
        lean_(
            tail,
            fold=True,
            activation_bits=spec.activation_bits,
            recompute_attention=spec.recompute_attention,
        )
    return in_layout_(tail, layout_of(spec))


def repeated_tail(spec: RunSpec, tail: nn.Module, names: list[str]) -> nn.Module:
    """The tail with repeated blocks, if the method has them."""
    return repeated_blocks(tail, names) if spec.method.repeats_blocks and names else tail


def layout_of(spec: RunSpec) -> Layout | None:
    """The layout that a specification asks for; None for the fastest."""
    if spec.layout is not None:
        return named_layout(spec.layout)
    # Plain PyTorch is compared in its default layout.
    is_plain = not (spec.lean or spec.method.replaces_layers or spec.method.repeats_blocks)
    return torch.contiguous_format if is_plain else None
