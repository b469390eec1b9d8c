"""The memory of a step by formula: the step is run on shapes alone, without weights or images."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from asi_core.costs.timeline.recording import StepRecorder
from asi_core.costs.timeline.records import Timeline
from asi_core.costs.timeline.shapes_only import ShapeFollower, WithoutNumbers, without_numbers_
from asi_core.datasets import check_dataset
from asi_core.errors import InvalidInput
from asi_core.layers.compressed import CompressedLayer
from asi_core.records import Ranks
from asi_core.training.layout import laid_out
from asi_core.training.spec import RunSpec
from asi_core.training.step import TrainingStep, batch_tensors
from asi_core.training.tails import (
    SplitNetwork,
    lean_tail_,
    repeated_tail,
    split_network,
)
from asi_core.zoo.build import build_architecture, replace_head_
from asi_core.zoo.cards import model_card
from asi_core.zoo.making import on_meta
from asi_core.zoo.outside import edition, is_outside


@dataclass(frozen=True, slots=True)
class _Shaped:
    """A tail without numbers, as `TrainingStep` needs it."""

    spec: RunSpec
    device: torch.device
    tail: nn.Module

    def trained_parameters(self) -> list[nn.Parameter]:
        return [p for p in self.tail.parameters() if p.requires_grad]

    def logits(self, values: tuple[Tensor, ...]) -> Tensor:
        found: Tensor = self.tail(*values)
        return found

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels)


def formula_memory(spec: RunSpec, *, ranks: Mapping[str, Ranks] | None = None) -> Timeline:
    """The memory of one training step over time, from shapes alone.

    A batch of many micro-batches is computed as one of two: the others add nothing.

    Args:
        ranks: of each trained layer, for a method whose ranks depend on the images.

    Returns:
        The timeline on a CPU. What operators need within is by the rules of `timeline.inside`.

    Raises:
        InvalidInput: if the ranks depend on the images and are not given.
    """
    if spec.method.depends_on_images and ranks is None:
        raise InvalidInput(
            "the memory of a step by formula needs ranks that do not depend on the images",
            spec.method.settings_label,
            "give ranks, or measure the step",
        )
    spec = spec.model_copy(update={"batch_size": min(spec.batch_size, 2 * spec.pass_size)})
    split = _split_of(spec)
    tail = deepcopy(split.start.tail)
    for name, own in (ranks or {}).items():
        layer = tail.get_submodule(name)
        if isinstance(layer, CompressedLayer):
            layer.plan_(own)
    layout = lean_tail_(spec, tail)
    mode, device = FakeTensorMode(), torch.device("cpu")
    # Before blocks are repeated, which hide their parts from a search for parameters.
    without_numbers_(tail, mode, device)
    tail = repeated_tail(spec, tail, split.layer_names)
    shapes = crossing_shapes(spec)
    with mode, WithoutNumbers():
        values = tuple(laid_out(torch.empty(spec.batch_size, *s), layout) for s in shapes)
        labels = torch.empty(spec.batch_size, dtype=torch.int64)
        train = TrainingStep(_Shaped(spec, device, tail))
        # Makes warm starts and the optimiser's state.
        train(values, labels, spec.learning_rate)
        train.optimiser.zero_grad()
        recorder = StepRecorder(
            tail,
            split.layer_names,
            model_card(spec.model).head,
            optimiser=train.optimiser,
            batch=batch_tensors(values, labels),
            follower=ShapeFollower,
        )
        with recorder:
            train(values, labels, spec.learning_rate, recorder)
            train.optimiser.zero_grad()
    return recorder.timeline("formula", device.type)


def crossing_shapes(spec: RunSpec) -> list[tuple[int, ...]]:
    """Shapes of the frozen part's results for one image, without the batch."""
    parts = _split_of(spec).start.parts
    size = spec.image_size
    if parts is None:
        return [(3, size, size)]
    with torch.no_grad():
        values = parts.prefix(torch.empty(1, 3, size, size, device="meta"))
    return [tuple(value.shape[1:]) for value in values]


def frozen_memory(spec: RunSpec) -> Timeline | None:
    """The memory of the frozen part's forward pass of one image; None if there is no such part."""
    split = _split_of(spec)
    if split.start.parts is None:
        return None
    prefix = deepcopy(split.start.parts.prefix)
    mode, device = FakeTensorMode(), torch.device("cpu")
    without_numbers_(prefix, mode, device)
    with mode, torch.no_grad(), WithoutNumbers():
        image = torch.empty(1, 3, spec.image_size, spec.image_size)
        recorder = StepRecorder(prefix, [], None, batch=[image], follower=ShapeFollower)
        with recorder:
            _results = prefix(image)
    return recorder.timeline("formula", device.type)


def _split_of(spec: RunSpec) -> SplitNetwork:
    """The split network, to be copied: tracing it takes longer than a step."""
    kept = ("model", "dataset", "layers", "method", "train_norm", "lean", "activation_bits")
    given = {name: value for name, value in spec if name in (*kept, "recompute_attention")}
    only = RunSpec.model_validate({**given, "image_size": spec.image_size})
    # A network in a file may change while this process lives, as may a folder of images.
    outside = edition(spec.model) if is_outside(spec.model) else ""
    classes = check_dataset(spec.dataset, skip_damaged=True).class_count
    assert classes is not None
    return _split(only, classes, outside)


@lru_cache(maxsize=16)
def _split(spec: RunSpec, classes: int, outside: str) -> SplitNetwork:
    card = model_card(spec.model)
    model = on_meta(partial(build_architecture, card)).eval()
    for head in card.heads:
        replace_head_(model, head, classes, seed=0)
    return split_network(spec, model)
