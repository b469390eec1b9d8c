"""Activation checkpointing (Chen et al., 2016): keep a block's input, recompute the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from asi_core.methods.base import MethodStyle
from asi_core.methods.costs import dense_step
from asi_core.methods.vanilla import KeepsInput
from asi_core.records import Convention, LayerShape, Macs, Ranks


class Checkpointing(KeepsInput):
    """Blocks of trained layers keep only their input, and are recomputed before their backward
    pass.

    Gradients are exact. The tensors inside a block exist only while its own backward pass runs, one
    block at a time; counted are the bytes kept from forward to backward. All trained layers are
    counted as recomputed, which is an upper bound: PyTorch stops after the last tensor that a block
    saves, so that a layer after which nothing is saved runs once.
    """

    kind: Literal["checkpointing"] = "checkpointing"
    label: ClassVar[str] = "Checkpointing"
    summary: ClassVar[str] = (
        "Keeping only the input of each block of trained layers, and recomputing the block "
        "before its backward pass. Gradients are exact, for one more forward pass."
    )
    style: ClassVar[MethodStyle] = MethodStyle("#A67B00", "longdashdot", "star")
    kept: ClassVar[str] = "recomputed exactly"
    why_no_picture: ClassVar[str] = "Checkpointing recomputes the input exactly."
    replaces_layers: ClassVar[bool] = False
    repeats_blocks: ClassVar[bool] = True

    def keeps_input(self, shape: LayerShape, ranks: Ranks | None) -> bool:
        return shape.opens_block

    def saved_bytes(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> int:
        return super().saved_bytes(shape, ranks, convention) if shape.opens_block else 0

    def macs(self, shape: LayerShape, ranks: Ranks | None, convention: Convention) -> Macs:
        step = dense_step(shape, convention)
        return replace(step, overhead=step.forward)
