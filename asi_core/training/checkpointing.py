"""Recomputing the blocks of a trained part before their backward pass, instead of keeping them.

PyTorch's `torch.utils.checkpoint` does the work. This module decides where blocks begin and end: in
the traced graph, so that a block whose first layers are frozen begins with its first trained one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch.utils.checkpoint
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from asi_core.errors import Unsupported
from asi_core.methods.blocks import block_of
from asi_core.training.prefix import constants_of, part_of


@dataclass(frozen=True, slots=True)
class _Segment:
    """A run of consecutive nodes as a function of `inputs`; a tuple of `outputs` if repeated."""

    part: GraphModule
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class RepeatedBlock(nn.Module):
    """One block, which keeps only its inputs. Its layers are registered in `RepeatedBlocks`.

    Attributes:
        repeats: tells meters that its inputs are kept for recomputing.
    """

    repeats = True

    def __init__(self, segment: _Segment) -> None:
        super().__init__()
        # In a tuple, which PyTorch does not search for modules: a layer has one name.
        self._segment = (segment,)

    def forward(self, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The block's outputs by name, computed from known values by name."""
        (segment,) = self._segment
        made = torch.utils.checkpoint.checkpoint(
            segment.part,
            *(known[name] for name in segment.inputs),
            use_reentrant=False,
            preserve_rng_state=False,
        )
        return dict(zip(segment.outputs, made, strict=True))


class RepeatedBlocks(nn.Module):
    """A trained part whose blocks keep only their inputs.

    It has the layers of the traced `tail`, under their names; do not replace them afterwards.
    """

    def __init__(self, tail: GraphModule, layer_names: Sequence[str]) -> None:
        super().__init__()
        # All names, including layers that have two.
        for name, layer in tail._modules.items():
            self.add_module(name, layer)
        for name, parameter in tail.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in tail.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self.training = tail.training
        self._inputs = tuple(n.name for n in tail.graph.nodes if n.op == "placeholder")
        *blocks, rest = (_segment(tail, nodes) for nodes in _runs(tail, layer_names))
        self.repeated_blocks = nn.ModuleList(RepeatedBlock(block) for block in blocks)
        self._rest = (rest,)

    def forward(self, *values: Tensor) -> Tensor:
        known = dict(zip(self._inputs, values, strict=True))
        for block in self.repeated_blocks:
            known |= block(known)
        (rest,) = self._rest
        logits: Tensor = rest.part(*(known[name] for name in rest.inputs))
        return logits


def repeated_blocks(tail: nn.Module, layer_names: Sequence[str]) -> RepeatedBlocks:
    """`tail` with its blocks recomputed in backward.

    Args:
        layer_names: of the trained layers, at least one; their blocks are recomputed.

    Raises:
        Unsupported: if `tail` is not traced, so that its blocks are unknown.
    """
    if not isinstance(tail, GraphModule):
        raise Unsupported(
            f"{type(tail).__name__} cannot be traced by torch.fx, so its blocks cannot be "
            "checkpointed: use torch.utils.checkpoint in the model itself."
        )
    return RepeatedBlocks(tail, layer_names)


def _runs(tail: GraphModule, layer_names: Sequence[str]) -> list[list[Node]]:
    """The nodes of each block, in order, followed by those after all blocks."""
    blocks = {block_of(name) for name in layer_names}
    constants = constants_of(tail.graph)
    nodes = [n for n in tail.graph.nodes if n.op != "placeholder" and n not in constants]
    own = [_block(node, blocks) for node in nodes]
    places = [place for place, block in enumerate(own) if block is not None]
    runs: list[list[Node]] = []
    current = None
    for node, block in zip(nodes[: places[-1] + 1], own, strict=False):
        if block not in (None, current) or not runs:
            runs.append([])
        # A node without a block of its own name belongs to the block before it.
        current = block or current
        runs[-1].append(node)
    return [*runs, nodes[places[-1] + 1 :]]


def _block(node: Node, blocks: Collection[str]) -> str | None:
    if node.op != "call_module":
        return None
    name = str(node.target)
    return next((b for b in blocks if name == b or name.startswith(f"{b}.")), None)


def _segment(tail: GraphModule, nodes: list[Node]) -> _Segment:
    inside, constants = set(nodes), constants_of(tail.graph)
    fed = (n for node in nodes for n in node.all_input_nodes if n not in constants)
    inputs = list(dict.fromkeys(n for n in fed if n not in inside))
    outputs = [node for node in nodes if any(user not in inside for user in node.users)]
    part = part_of(tail, tail.graph, nodes, inputs=inputs, outputs=outputs or None)
    return _Segment(part, tuple(n.name for n in inputs), tuple(n.name for n in outputs))
