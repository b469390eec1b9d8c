"""One training step: the passes of a batch, whole or in micro-batches, and the update.

The gradient of a batch is the sum over its parts as long as no layer mixes the images of a batch:
with normalisations in evaluation mode the weights are the same to rounding, and only one part's
activations are there at a time.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from asi_core.costs.measurement import SavedBytes
from asi_core.costs.timeline.recording import Recorder
from asi_core.training.optimisers import make_optimiser
from asi_core.training.spec import RunSpec


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a step found.

    Attributes:
        loss: the mean over the batch, before the update.
        logits: of the whole batch.
        seconds: by part of the step: "forward", "backward", "update".
    """

    loss: Tensor
    logits: Tensor
    seconds: Mapping[str, float]


class Steppable(Protocol):
    """What a step needs of what is trained (`training.trained.Trained`)."""

    @property
    def spec(self) -> RunSpec: ...

    @property
    def device(self) -> torch.device: ...

    def trained_parameters(self) -> list[nn.Parameter]: ...

    def logits(self, values: Any, /) -> Tensor: ...

    def loss(self, logits: Tensor, labels: Tensor, /) -> Tensor: ...


class SavedRecorder(Recorder):
    """Counts the bytes that a step's forward passes save for backward.

    Attributes:
        saved_bytes: of one pass; the most of several.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self.saved_bytes = model, 0

    @contextmanager
    def forward(self) -> Iterator[None]:
        with SavedBytes(self._model) as saved:
            yield
        self.saved_bytes = max(self.saved_bytes, saved.total)


class TrainingStep:
    """A network's optimiser, and how it is stepped.

    Attributes:
        parameters: the trained ones.
    """

    def __init__(self, trained: Steppable) -> None:
        self.parameters = trained.trained_parameters()
        self._trained, self._spec = trained, trained.spec
        self.optimiser = make_optimiser(trained.spec, self.parameters)
        self._recorder, self._is_last, self._rate = Recorder(), False, 0.0
        if self._spec.apply_early:
            for parameter in self.parameters:
                parameter.register_post_accumulate_grad_hook(self._apply)

    def __call__(
        self, values: Any, labels: Tensor, rate: float, recorder: Recorder | None = None
    ) -> Stepped:
        """Update the parameters once.

        Args:
            values, labels: the batch, as the network reads it.
            rate: the learning rate.
            recorder: learns what the step is doing.
        """
        parts = micro_batches(values, labels, self._spec.micro_batch)
        return self.of_parts(parts, len(labels), rate, recorder)

    def of_parts(
        self,
        parts: Iterator[tuple[Any, Tensor]],
        count: int,
        rate: float,
        recorder: Recorder | None = None,
    ) -> Stepped:
        """Update the parameters once, with a batch that comes in micro-batches.

        Args:
            parts: values and labels of each, made when its turn comes.
            count: images in the whole batch.
            rate: the learning rate.
            recorder: learns what the step is doing.
        """
        self._recorder, self._rate = recorder or Recorder(), rate
        clock, seconds = Clock(self._trained.device), defaultdict[str, float](float)
        self.optimiser.zero_grad()
        losses, logits, done = [], [], 0
        clock.lap()
        for some, wanted in parts:
            done += len(wanted)
            self._is_last = done == count
            with self._recorder.forward():
                found = self._trained.logits(some)
                loss = self._trained.loss(found, wanted) * (len(wanted) / count)
            losses.append(loss.detach())
            logits.append(found.detach())
            # The graph is held by `loss` alone, and nothing here holds the part for longer.
            del found, some
            seconds["forward"] += clock.lap()
            loss.backward()
            del loss
            seconds["backward"] += clock.lap()
        if not self._spec.apply_early:
            with self._recorder.update():
                self.update_(self.parameters, rate)
        seconds["update"] += clock.lap()
        return Stepped(torch.stack(losses).sum(), torch.cat(logits), seconds)

    def _apply(self, parameter: Tensor) -> None:
        """Update one parameter as soon as its gradient is complete, and free the gradient."""
        if not self._is_last:
            return
        with self._recorder.update():
            self.update_([parameter], self._rate)
            parameter.grad = None

    @torch.no_grad()
    def update_(self, parameters: Sequence[Tensor], rate: float) -> None:
        """Clip the gradients of `parameters` together, and update them."""
        nn.utils.clip_grad_norm_(parameters, self._spec.clip_norm)
        self.optimiser.step(parameters, rate)


def micro_batches(values: Any, labels: Tensor, size: int | None) -> Iterator[tuple[Any, Tensor]]:
    """A batch in parts of at most `size` images: views of its tensors.

    Tensors whose first mode is not the batch belong to all parts.
    """
    count = len(labels)
    if size is None or size >= count:
        yield values, labels
        return
    for start in range(0, count, size):
        end = min(start + size, count)

        def part(tensor: Tensor, start: int = start, end: int = end) -> Tensor:
            return tensor[start:end] if tensor.dim() and len(tensor) == count else tensor

        yield tree_map_only(Tensor, part, values), labels[start:end]


def batch_tensors(values: Any, labels: Tensor) -> list[Tensor]:
    """All tensors of a batch."""
    return [leaf for leaf in tree_leaves((values, labels)) if isinstance(leaf, Tensor)]


class Clock:
    """Seconds between laps, after synchronising the device."""

    def __init__(self, device: torch.device) -> None:
        self._queued = device.type != "cpu"
        self._last = self._now()

    def lap(self) -> float:
        """Seconds since the lap before."""
        before, self._last = self._last, self._now()
        return self._last - before

    def _now(self) -> float:
        if self._queued:
            torch.accelerator.synchronize()
        return time.perf_counter()
