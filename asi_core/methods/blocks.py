"""How the trained layers of a network are related: by blocks and by shared inputs.

A block is the unit that activation checkpointing repeats.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from asi_core.records import LayerShape

_NUMBERED = re.compile(r"\d$")


def block_of(name: str) -> str:
    """The block that contains a layer: its name up to and including the first run of numbers.

    `features.17.conv.0.0` lies in `features.17`, `layer4.1.conv2` in `layer4.1`, `first.conv` in
    `first`, and a layer of the model itself is a block of its own.
    """
    parts = name.split(".")[:-1] or [name]
    numbered = [bool(_NUMBERED.search(part)) for part in parts]
    if True not in numbered:
        return ".".join(parts)
    first = numbered.index(True)
    last = next((i for i in range(first, len(parts)) if not numbered[i]), len(parts))
    return ".".join(parts[:last])


def related(shapes: Iterable[LayerShape]) -> tuple[LayerShape, ...]:
    """The shapes of a network's trained layers, completed with what they share: which layers open a
    block, and which read the same tensor.

    Args:
        shapes: in registration order.
    """
    shapes = tuple(shapes)
    names = _shared_inputs(shapes)
    seen: set[str] = set()
    found = []
    for shape in shapes:
        block = block_of(shape.name)
        # A layer that no trained layer feeds reads from outside the trained part of its block.
        opens = block not in seen or not shape.has_input_gradient
        found.append(replace(shape, opens_block=opens, input_id=names.get(shape.input_id)))
        seen.add(block)
    return tuple(found)


def _shared_inputs(shapes: Sequence[LayerShape]) -> dict[str | None, str]:
    """A name for each input that several layers read: the name of the first of them."""
    readers: dict[str, list[str]] = {}
    for shape in shapes:
        if shape.input_id is not None:
            readers.setdefault(shape.input_id, []).append(shape.name)
    return {tensor: names[0] for tensor, names in readers.items() if len(names) > 1}
