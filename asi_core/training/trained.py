"""What the training loop needs of a network and its data, whoever brought them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from asi_core.methods import Method
from asi_core.records import LayerShape
from asi_core.training.events import PreparedEvent
from asi_core.training.spec import RunSpec


class Trained(Protocol):
    """A network that is ready to be trained, and its batches.

    Attributes:
        spec: the recipe: steps, rates, intervals.
        tail: the module that a step runs, with the trained layers.
        layer_names: of the trained layers.
        head: name of the classifier; None for a network without.
        methods: how their inputs are kept: one for all, or by name.
        sources: what identifies the frozen part and the data, for checkpoints.
    """

    spec: RunSpec
    device: torch.device
    tail: nn.Module
    layer_names: list[str]
    head: str | None
    sources: str

    @property
    def methods(self) -> Method | Mapping[str, Method]: ...

    def prepared(self) -> PreparedEvent:
        """The event before the first step."""

    def trained_parameters(self) -> list[nn.Parameter]:
        """The parameters that the optimiser updates."""

    def batches(self, done: int) -> Iterator[Any]:
        """Endless training batches, without the first `done`."""

    def read(self, batch: Any, /) -> tuple[Any, Tensor]:
        """The tail's inputs and the labels of a training batch, on the device."""

    def test_batches(self) -> Iterator[tuple[Any, Tensor]]:
        """All test images once, as `read` returns them; empty if there are none."""

    def logits(self, values: Any, /) -> Tensor:
        """The tail's result for these inputs."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of a batch."""

    def step_shapes(self, values: Any, /) -> Sequence[LayerShape]:
        """Shapes of the trained layers in a step with these inputs, in the order of the layers."""
