"""Measuring one training step of a zoo model: kept bytes, their categories, and duration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from asi_core.costs.compared import ComparedBytes
from asi_core.costs.measure import Measurement, measure_tail
from asi_core.costs.needs import Need
from asi_core.costs.timeline.measured import measure_timeline
from asi_core.costs.timeline.recording import Recorder
from asi_core.costs.timeline.records import Timeline
from asi_core.errors import InvalidInput
from asi_core.methods import Vanilla
from asi_core.training.batches import batch_indices
from asi_core.training.calibration import plan_ranks_
from asi_core.training.features import FeaturePool
from asi_core.training.frozen_pass import FrozenPass, frozen_values
from asi_core.training.setup import TrainingSetup, default_device
from asi_core.training.spec import RunSpec
from asi_core.training.step import TrainingStep, batch_tensors, micro_batches
from asi_core.zoo.cards import model_card
from asi_core.zoo.weights import local_weights


@dataclass(frozen=True, slots=True)
class StepMeasured:
    """A measurement, the kind of weights used and, if requested, a comparison."""

    spec: RunSpec
    measurement: Measurement
    compared: ComparedBytes | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "spec": self.spec.model_dump(mode="json"),
            "weights": "pretrained" if self.spec.pretrained else "random",
            "compared_bytes": None if self.compared is None else asdict(self.compared),
            **self.measurement.as_dict(),
        }


def with_weights_at_hand(spec: RunSpec) -> RunSpec:
    """`spec`, with random weights if the pretrained ones are not on disk and do not affect bytes.

    They affect bytes only if what is kept depends on the images. Nothing is downloaded for a
    measurement.
    """
    if spec.method.depends_on_images or local_weights(model_card(spec.model)) is not None:
        return spec
    return spec.model_copy(update={"pretrained": False})


def measure(spec: RunSpec, pool: FeaturePool) -> StepMeasured:
    """Measure the trained part of `spec`'s model on the first batch of its run.

    Raises:
        AsiError: if the spec cannot be set up, nothing is trained, or the two meters disagree.
    """
    if spec.layers == 0:
        raise InvalidInput(
            "trained layers must be at least 1 to be measured", 0, "choose 1 or more"
        )
    setup = TrainingSetup(spec, pool, default_device())
    plan_ranks_(setup, pool)
    indices = next(batch_indices(len(setup.data.train), spec.pass_size, spec.seed))
    labels = setup.train_labels[indices]

    def loss_of(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels)

    def make_inputs() -> tuple[Tensor, ...]:
        return setup.values("train", indices)

    # The first values are computed outside the measured step, as in training.
    make_inputs()
    measurement = measure_tail(
        setup.tail,
        make_inputs,
        loss_of,
        head=model_card(spec.model).head,
        method=spec.method,
        shapes=setup.shapes,
    )
    return StepMeasured(spec, measurement)


def measure_memory(spec: RunSpec, pool: FeaturePool) -> Timeline:
    """The memory of one whole step of a run over time: passes, update and optimiser state.

    Raises:
        AsiError: if the spec cannot be set up, or the two counts disagree.
    """
    setup = TrainingSetup(spec, pool, default_device())
    plan_ranks_(setup, pool)
    indices = next(batch_indices(len(setup.data.train), spec.batch_size, spec.seed))
    values, labels = setup.read(indices)
    train = TrainingStep(setup)

    def step(recorder: Recorder) -> None:
        train(values, labels, spec.learning_rate, recorder)
        train.optimiser.zero_grad()

    return measure_timeline(
        setup.tail,
        step,
        setup.layer_names,
        model_card(spec.model).head,
        batch=batch_tensors(values, labels),
        optimiser=train.optimiser,
    )


def measure_need(spec: RunSpec, pool: FeaturePool) -> Need:
    """What one whole step needs at once, measured: the frozen forward pass of each image of a
    micro-batch, one after the other, and then the step of the trained part.

    The images of the batch lie elsewhere; one at a time is copied, and counted.

    Raises:
        AsiError: if the spec cannot be set up, or the two counts disagree.
    """
    setup = TrainingSetup(spec, pool, default_device())
    plan_ranks_(setup, pool)
    indices = next(batch_indices(len(setup.data.train), spec.batch_size, spec.seed))
    images, labels = setup.images(indices), setup.train_labels[indices]
    frozen = None if setup.prefix is None else FrozenPass(setup.prefix, setup.layout)
    train = TrainingStep(setup)

    def step(recorder: Recorder) -> None:
        parts = _parts_of(frozen, images, labels, spec.micro_batch, recorder)
        train.of_parts(parts, len(labels), spec.learning_rate, recorder)
        train.optimiser.zero_grad()

    batch = batch_tensors(images, labels)
    timeline = measure_timeline(
        setup.tail,
        step,
        setup.layer_names,
        model_card(spec.model).head,
        batch=batch,
        optimiser=train.optimiser,
        frozen=frozen,
    )
    elsewhere = 0 if frozen is None else sum(t.untyped_storage().nbytes() for t in batch)
    return Need.of_whole(timeline, elsewhere=elsewhere)


def _parts_of(
    frozen: FrozenPass | None,
    images: Tensor,
    labels: Tensor,
    size: int | None,
    recorder: Recorder,
) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
    """What the trained part reads of each micro-batch, made when its turn comes."""
    for some, wanted in micro_batches(images, labels, size):
        yield (some,) if frozen is None else frozen_values(frozen, some, recorder), wanted


def measure_and_compare(spec: RunSpec, pool: FeaturePool) -> StepMeasured:
    """`measure`, plus the same step with plain and with lean layers, exact and compressed."""
    found = measure(spec, pool)

    def saved_with(**changes: Any) -> int:
        other = spec.model_copy(update=changes)
        measured = found if other == spec else measure(other, pool)
        return measured.measurement.step.saved_bytes

    compared = ComparedBytes(
        formula=found.measurement.formula_bytes,
        vanilla=saved_with(method=Vanilla(), lean=False),
        lean_vanilla=saved_with(method=Vanilla(), lean=True),
        lean=saved_with(lean=True),
    )
    return replace(found, compared=compared)
