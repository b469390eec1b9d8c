"""Seconds that single layers take in a forward and a backward pass."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle


class LayerClocks:
    """While open, times the layers `names` in a forward pass, and later in its backward pass.

    The device is synchronised before and after each layer, so that the seconds are the layer's own.
    Backward is timed at the layer's nodes in the graph, because hooks around a module's backward
    insert views that a following in-place activation must not change.

    Attributes:
        forward_seconds: by layer, in its `forward`; summed over several calls.
        backward_seconds: by layer, in its own nodes: the gradients of input, weight and bias from
            what was kept. Accumulating gradients and the engine's overhead are not included.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        self.forward_seconds: dict[str, float] = defaultdict(float)
        self.backward_seconds: dict[str, float] = defaultdict(float)
        self._layers = {name: model.get_submodule(name) for name in names}
        self._device = next(model.parameters()).device
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        for name, layer in self._layers.items():
            start = self._starting(name)
            self._handles += [
                layer.register_forward_pre_hook(start),
                layer.register_forward_hook(self._stopping(name), prepend=True),
            ]
        return self

    def __exit__(self, *error: Any) -> None:
        for handle in self._handles:
            handle.remove()

    def _starting(self, name: str) -> Callable[..., None]:
        def start(layer: nn.Module, inputs: Any) -> None:
            self.forward_seconds[name] -= self._now()

        return start

    def _stopping(self, name: str) -> Callable[..., None]:
        def stop(layer: nn.Module, inputs: Any, output: Any) -> None:
            self.forward_seconds[name] += self._now()
            for node in _nodes_between(inputs, output):
                self._time_node(name, node)

        return stop

    def _time_node(self, name: str, node: Node) -> None:
        def start(grad_outputs: Any) -> None:
            self.backward_seconds[name] -= self._now()

        def stop(grad_inputs: Any, grad_outputs: Any) -> None:
            self.backward_seconds[name] += self._now()

        node.register_prehook(start)
        node.register_hook(stop)

    def _now(self) -> float:
        if self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)
        return time.perf_counter()


def _nodes_between(inputs: Any, output: Any) -> list[Node]:
    """The graph's nodes from `output` back to those that made `inputs`, which are excluded."""
    seen = set(_makers(inputs))
    found: list[Node] = []
    waiting = _makers(output)
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            # A leaf's node only accumulates its gradient.
            found += [] if node.name().endswith("AccumulateGrad") else [node]
            waiting += [source for source, _ in node.next_functions if source is not None]
    return found


def _makers(values: Any) -> list[Node]:
    tensors = [value for value in tree_leaves(values) if isinstance(value, Tensor)]
    return [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
