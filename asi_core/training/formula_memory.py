"""The memory of a step by formula: the step is run on shapes alone, without weights or images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from asi_core.costs.needs import Need
from asi_core.costs.timeline.recording import StepRecorder
from asi_core.costs.timeline.records import Timeline, Use
from asi_core.costs.timeline.shapes_only import ShapeFollower, WithoutNumbers, without_numbers_
from asi_core.counting import ceil_div
from asi_core.datasets import check_dataset
from asi_core.errors import InvalidInput
from asi_core.layers.surgery import compress_
from asi_core.methods import Vanilla
from asi_core.records import ELEMENT_BYTES, Ranks
from asi_core.training.calibration import assign_ranks_
from asi_core.training.frozen_pass import FrozenPass
from asi_core.training.layout import laid_out, preferred_layout
from asi_core.training.spec import RunSpec
from asi_core.training.step import TrainingStep, batch_tensors, micro_batches
from asi_core.training.tails import (
    SplitNetwork,
    layer_method,
    layout_of,
    lean_tail_,
    repeated_tail,
    split_network,
)
from asi_core.zoo.build import build_architecture, replace_head_
from asi_core.zoo.cards import model_card
from asi_core.zoo.making import on_meta
from asi_core.zoo.outside import edition, is_outside

# Classes make no difference to the frozen part.
_ANY = 2


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


def formula_memory(
    spec: RunSpec, *, ranks: Mapping[str, Ranks] | None = None, classes: int | None = None
) -> Timeline:
    """The memory of one training step over time, from shapes alone.

    A batch of many micro-batches is computed as one of two: the others add nothing.

    Args:
        ranks: of each trained layer, for a method whose ranks depend on the images.
        classes: of the images; by default they are counted, which takes a while for a large folder.

    Returns:
        The timeline on a CPU. What operators need within is by the rules of `timeline.inside`.

    Raises:
        InvalidInput: if the ranks depend on the images and are not given.
    """
    return _recorded(spec, ranks, classes).timeline("formula", "cpu")


def _recorded(
    spec: RunSpec, ranks: Mapping[str, Ranks] | None, classes: int | None, *, passes: int = 2
) -> StepRecorder:
    """One step, recorded on shapes alone, of some of its micro-batches.

    Args:
        passes: at most so many are run; one finds the gradients of those before it.
    """
    if spec.method.depends_on_images and ranks is None:
        raise InvalidInput(
            "the memory of a step by formula needs ranks that do not depend on the images",
            spec.method.settings_label,
            "give ranks, or measure the step",
        )
    size = min(spec.batch_size, passes * spec.pass_size)
    accumulates = passes == 1 and size < spec.batch_size
    # Of three or more, one in the middle needs most: it finds gradients and does not apply them.
    count = size + 1 if accumulates and spec.batch_size > 2 * size else size
    spec = spec.model_copy(update={"batch_size": size})
    plain = _as_plain(spec)
    split = _split_of(plain, class_count(spec) if classes is None else classes)
    tail = deepcopy(split.start.tail)
    if plain.method != spec.method and split.layer_names:
        compress_(tail, layer_method(spec), layers=split.layer_names, lean=False)
    assign_ranks_(tail, ranks or {})
    layout = lean_tail_(spec, tail)
    mode, device = FakeTensorMode(), torch.device("cpu")
    # Before blocks are repeated, which hide their parts from a search for parameters.
    without_numbers_(tail, mode, device)
    tail = repeated_tail(spec, tail, split.layer_names)
    shapes = crossing_shapes(spec)
    with mode, WithoutNumbers():
        values = tuple(laid_out(torch.empty(spec.batch_size, *s), layout) for s in shapes)
        labels = torch.empty(spec.batch_size, dtype=torch.int64)
        shaped = _Shaped(spec, device, tail)
        train = TrainingStep(shaped)
        _warm_up(shaped, train, values, labels)
        recorder = StepRecorder(
            tail,
            split.layer_names,
            model_card(spec.model).head,
            optimiser=train.optimiser,
            batch=batch_tensors(values, labels),
            follower=ShapeFollower,
        )

        def parts() -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
            if accumulates:
                _make_gradients(train.parameters)
                recorder.note_gradients()
            yield from micro_batches(values, labels, spec.micro_batch)

        with recorder:
            train.of_parts(parts(), count, spec.learning_rate, recorder)
            train.optimiser.zero_grad()
    return recorder


def step_macs(
    spec: RunSpec, *, ranks: Mapping[str, Ranks] | None = None, classes: int | None = None
) -> int:
    """Multiply-accumulates of matrix products and convolutions of one step, the frozen forward
    passes of its images included, from shapes alone.

    Args:
        ranks: as in `formula_memory`.
        classes: as in `formula_memory`.
    """
    found = _macs_of(_recorded(spec, ranks, classes, passes=1)) * ceil_div(
        spec.batch_size, spec.pass_size
    )
    frozen = _frozen(*_frozen_key(spec))
    return found + (0 if frozen is None else _macs_of(frozen.recorder) * spec.batch_size)


def least_need(spec: RunSpec, *, classes: int, frozen_in_flash: bool) -> int:
    """What training needs at least, without running its step on shapes: trained weights, their
    gradients of earlier micro-batches or the largest of them, the frozen forward pass, and what the
    trained part reads."""
    parameters = list(_split_of(_as_plain(spec), classes).start.tail.parameters())
    always = sum(_bytes_of(p) for p in parameters if p.requires_grad or not frozen_in_flash)
    gradients = [_bytes_of(p) for p in parameters if p.requires_grad]
    held = sum(gradients) if spec.pass_size < spec.batch_size else 0
    batch = ELEMENT_BYTES * spec.pass_size * sum(map(prod, crossing_shapes(spec)))
    frozen = frozen_memory(spec)
    if frozen is None:
        return always + batch + max(held, *gradients)
    weights = 0 if frozen_in_flash else frozen.base.get(Use.FROZEN_WEIGHTS, 0)
    one_image = frozen.base[Use.BATCH] + frozen.peak.nbytes
    return always + weights + batch + max(held + one_image, *gradients)


def _as_plain(spec: RunSpec) -> RunSpec:
    """The specification with plain layers, if its method trains the layers' own weights: they have
    the same parameters, and one split network serves all such methods."""
    method = spec.method
    is_own = method.adapter is None and not (method.factors_weight or method.plans_weights)
    return spec.model_copy(update={"method": Vanilla()}) if is_own else spec


def _bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _macs_of(recorder: StepRecorder) -> int:
    follower = recorder.follower
    assert isinstance(follower, ShapeFollower)
    return follower.macs


def _warm_up(
    shaped: _Shaped, train: TrainingStep, values: tuple[Tensor, ...], labels: Tensor
) -> None:
    """Make warm starts and the optimiser's state: what a whole step before would leave there."""
    some, _ = next(micro_batches(values, labels, shaped.spec.micro_batch))
    shaped.logits(some)
    _make_gradients(train.parameters)
    train.update_(train.parameters, shaped.spec.learning_rate)
    train.optimiser.zero_grad()


def _make_gradients(parameters: Iterable[Tensor]) -> None:
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)


def crossing_shapes(spec: RunSpec) -> list[tuple[int, ...]]:
    """Shapes of the frozen part's results for one image, without the batch."""
    frozen = _frozen(*_frozen_key(spec))
    size = spec.image_size
    return [(3, size, size)] if frozen is None else frozen.shapes


def frozen_memory(spec: RunSpec) -> Timeline | None:
    """The memory of the frozen part's forward pass of one image (`frozen_pass`) over time, from
    shapes alone; None if there is no such part."""
    frozen = _frozen(*_frozen_key(spec))
    found = None if frozen is None else frozen.recorder.timeline("formula", "cpu")
    # Where all layers are trained, nothing is computed before them.
    return found if found is not None and found.moments else None


def _frozen_key(spec: RunSpec) -> tuple[RunSpec, str]:
    """What changes the frozen part: one pass of it serves many questions."""
    names = ("model", "layers", "image_size", "train_norm", "layout")
    given = {name: value for name, value in spec if name in names}
    outside = edition(spec.model) if is_outside(spec.model) else ""
    return RunSpec.model_validate({**given, "method": Vanilla()}), outside


@dataclass(frozen=True, slots=True)
class _Frozen:
    """The frozen part's forward pass of one image, from shapes alone.

    Attributes:
        shapes: of its results, without the batch.
    """

    recorder: StepRecorder
    shapes: list[tuple[int, ...]]


@lru_cache(maxsize=64)
def _frozen(spec: RunSpec, outside: str) -> _Frozen | None:
    parts = _split_of(spec, _ANY).start.parts
    if parts is None:
        return None
    layout = layout_of(spec) or preferred_layout(parts.tail)
    part = FrozenPass(parts.prefix, layout).part
    mode = FakeTensorMode()
    without_numbers_(part, mode, torch.device("cpu"))
    with mode, torch.no_grad(), WithoutNumbers():
        image = laid_out(torch.empty(1, 3, spec.image_size, spec.image_size), layout)
        recorder = StepRecorder(part, [], None, batch=[image], follower=ShapeFollower)
        with recorder:
            results = part(image)
    return _Frozen(recorder, [tuple(value.shape[1:]) for value in results])


def formula_need(
    spec: RunSpec, *, ranks: Mapping[str, Ranks] | None = None, classes: int | None = None
) -> Need:
    """What training needs at once, frozen forward passes included, from shapes alone.

    Args:
        ranks: as in `formula_memory`.
        classes: as in `formula_memory`.

    Raises:
        InvalidInput: as `formula_memory`.

    Example:
        >>> formula_need(spec).fits(2**20, frozen_in_flash=True)
    """
    step = _recorded(spec, ranks, classes, passes=1).timeline("formula", "cpu")
    return Need.of(step, frozen_memory(spec), accumulates=spec.pass_size < spec.batch_size)


def class_count(spec: RunSpec) -> int:
    """Classes of a run's images, counted without decoding any."""
    found = check_dataset(spec.dataset, skip_damaged=True).class_count
    assert found is not None
    return found


def _split_of(spec: RunSpec, classes: int) -> SplitNetwork:
    """The split network, to be copied: tracing it takes longer than a step."""
    kept = ("model", "layers", "method", "train_norm", "lean", "activation_bits")
    given = {name: value for name, value in spec if name in (*kept, "recompute_attention")}
    only = RunSpec.model_validate({**given, "image_size": spec.image_size})
    # A network in a file may change while this process lives.
    outside = edition(spec.model) if is_outside(spec.model) else ""
    return _split(only, classes, outside)


@lru_cache(maxsize=64)
def _split(spec: RunSpec, classes: int, outside: str) -> SplitNetwork:
    card = model_card(spec.model)
    model = on_meta(partial(build_architecture, card)).eval()
    for head in card.heads:
        replace_head_(model, head, classes, seed=0)
    return split_network(spec, model)
