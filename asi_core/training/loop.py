"""The fine-tuning loop: from a run specification to events. Independent of stores and pages."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from asi_core.costs.accounting import StepCost, known_step_cost
from asi_core.costs.measurement import refuse_compiled
from asi_core.costs.timeline.measured import MeasuredStep
from asi_core.errors import AsiError, Unavailable, Unsupported, one_sentence
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.watching import Watched, watched
from asi_core.training.balance import balanced_accuracy, is_very_unbalanced
from asi_core.training.calibration import plan_ranks_
from asi_core.training.checkpoint import TrainingState, ranks_of, restore_, state_of
from asi_core.training.events import (
    LAST_MEASURED,
    EvaluationEvent,
    Event,
    ProbeEvent,
    StepEvent,
    TimelineEvent,
)
from asi_core.training.features import FeaturePool, installed_pool
from asi_core.training.probes import probe_layers
from asi_core.training.schedules import learning_rate
from asi_core.training.setup import TrainingSetup, default_device
from asi_core.training.spec import RunSpec
from asi_core.training.step import Clock, SavedRecorder, TrainingStep, batch_tensors, micro_batches
from asi_core.training.trained import Trained

log = logging.getLogger(__name__)

# Between two checkpoints, if evaluations and probes are further apart.
_KEEP_SECONDS = 30.0


def fine_tune(
    spec: RunSpec,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    features: FeaturePool | None = None,
    resume: TrainingState | None = None,
    keep: Callable[[TrainingState], None] | None = None,
) -> Iterator[Event]:
    """Train as `spec` specifies and yield events. The same spec gives the same numbers.

    Args:
        should_stop: called before every step; if it returns true, the run ends without an event.
        features: frozen features, shared with other runs of this process.
        resume: the state to resume from; its steps are not repeated.
        keep: called with the run's state after every evaluation (the last step has one) and probe,
            and every half minute, once all events up to there have been consumed.

    Raises:
        AsiError: if weights or data are unavailable, or training diverges.
    """
    spec.check_can_be_repeated()
    yield from training_events(
        planned_setup(spec, features or installed_pool(), default_device(), resume),
        should_stop=should_stop,
        resume=resume,
        keep=keep,
    )


def planned_setup(
    spec: RunSpec, pool: FeaturePool, device: torch.device, resume: TrainingState | None = None
) -> TrainingSetup:
    """The setup of a run, with ranks planned if its method has a budget, or those of `resume`."""
    setup = TrainingSetup(spec, pool, device)
    is_same = resume is not None and resume.sources in ("", setup.sources)
    plan_ranks_(setup, pool, ranks_of(resume) if resume is not None and is_same else None)
    return setup


def training_events(
    trained: Trained,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    resume: TrainingState | None = None,
    keep: Callable[[TrainingState], None] | None = None,
) -> Iterator[Event]:
    """Train what is set up, and yield events; the arguments are those of `fine_tune`."""
    session, spec = _Session(trained), trained.spec
    done = session.taken_up(resume)
    yield trained.prepared()
    kept_at = time.monotonic()
    for step, batch in enumerate(islice(trained.batches(done), spec.steps - done), done + 1):
        if should_stop():
            return
        probe = step == 1 or step % spec.probe_interval == 0
        evaluates = step % spec.evaluation_interval == 0 or step == spec.steps
        yield from session.step(step, batch, probe, evaluates)
        late = time.monotonic() - kept_at > _KEEP_SECONDS
        if keep is not None and (probe or evaluates or late):
            keep(session.state(step))
            kept_at = time.monotonic()


class _Session:
    """A setup and its optimiser."""

    def __init__(self, trained: Trained) -> None:
        self.trained, self.spec = trained, trained.spec
        self.tail, self.layer_names = trained.tail, trained.layer_names
        self._step = TrainingStep(trained)

    def taken_up(self, state: TrainingState | None) -> int:
        """Resume from `state`; returns the number of completed steps."""
        if state is None:
            return 0
        try:
            restore_(state, self.tail, self._step.optimiser, self.trained.sources)
        except Unavailable as error:
            log.warning("%s", one_sentence(error))
            return 0
        log.info("resumed after step %d", state.step)
        return state.step

    def state(self, step: int) -> TrainingState:
        return state_of(self.spec, step, self.tail, self._step.optimiser, self.trained.sources)

    def step(self, step: int, batch: Any, probe: bool, evaluates: bool) -> Iterator[Event]:
        probed = self.layer_names if probe else []
        with watched(self.tail, probed) as notes:
            trained = self.train_step(step, batch)
        yield from trained
        if probed:
            yield self.probe(step, notes)
        if evaluates and (evaluated := self.evaluate(step)) is not None:
            yield evaluated

    def train_step(self, step: int, batch: Any) -> list[Event]:
        """The step's event and, if its memory was recorded, the timeline's."""
        rate = learning_rate(self.spec, step)
        clock = Clock(self.trained.device)
        values, labels = self.trained.read(batch)
        prefix_seconds = clock.lap()
        measured = self._measured(step, values, labels)
        with measured or nullcontext(SavedRecorder(self.tail)) as recorder:
            stepped = self._step(values, labels, rate, recorder)
        trained = StepEvent(
            step=step,
            loss=_finite(stepped.loss.item(), step),
            accuracy=(stepped.logits.argmax(1) == labels).float().mean().item(),
            learning_rate=rate,
            prefix_seconds=prefix_seconds,
            forward_seconds=stepped.seconds["forward"],
            backward_seconds=stepped.seconds["backward"],
            update_seconds=stepped.seconds["update"],
            saved_bytes=recorder.saved_bytes,
            **_counts(self._costs(values, labels)),
        )
        over_time = None if measured is None else _timeline_of(measured, step)
        return [trained] if over_time is None else [trained, over_time]

    def _measured(self, step: int, values: Any, labels: Tensor) -> MeasuredStep | None:
        """What records this step's memory over time; None if it is not the step to be recorded."""
        if step != measured_step(self.spec):
            return None
        try:
            refuse_compiled(self.tail)
        except Unsupported as error:
            log.info("the memory of a step is not recorded: %s", one_sentence(error))
            return None
        # As the step itself would do first: the gradients of the step before are not there.
        self._step.optimiser.zero_grad()
        return MeasuredStep(
            self.tail,
            self.layer_names,
            self.trained.head,
            batch=batch_tensors(values, labels),
            optimiser=self._step.optimiser,
            # Other work of this process must not change what is recorded.
            by_allocator=False,
        )

    @torch.no_grad()
    def evaluate(self, step: int) -> EvaluationEvent | None:
        """Accuracy and mean loss on the test images; None if there are none."""
        loss = 0.0
        found: list[tuple[Tensor, Tensor]] = []
        with _evaluating(self.tail):
            for values, labels in self.trained.test_batches():
                logits = self.trained.logits(values)
                loss += float(self.trained.loss(logits, labels)) * len(labels)
                found.append((labels.cpu(), (logits.argmax(1) == labels).cpu()))
        if not found:
            return None
        wanted, right = (torch.cat(parts).flatten().numpy() for parts in zip(*found, strict=True))
        count, correct = len(right), int(right.sum())
        log.info("step %d: %d of %d test images correct", step, correct, count)
        return EvaluationEvent(
            step=step,
            accuracy=correct / count,
            loss=_finite(loss / sum(len(labels) for labels, _ in found), step),
            balanced_accuracy=(
                balanced_accuracy(wanted, right) if is_very_unbalanced(wanted) else None
            ),
        )

    def probe(self, step: int, notes: Mapping[str, Watched]) -> ProbeEvent:
        clock = Clock(self.trained.device)
        layers = probe_layers(self.tail, notes)
        event = ProbeEvent(step=step, layers=layers, seconds=clock.lap())
        if not event.has_json:
            raise _diverged("values in the layers became infinite or NaN", step)
        return event

    def _costs(self, values: Any, labels: Tensor) -> list[StepCost]:
        """Costs of each micro-batch by formula, with the ranks in use in this step; none if the
        method has no closed form."""
        ranks = {}
        for name in self.layer_names:
            layer = self.tail.get_submodule(name)
            ranks[name] = layer.ranks if isinstance(layer, CompressedLayer) else None
        found = [
            known_step_cost(self.trained.step_shapes(some), self.trained.methods, "exact", ranks)
            for some, _ in micro_batches(values, labels, self.spec.micro_batch)
        ]
        return [cost for cost in found if cost is not None]


def measured_step(spec: RunSpec) -> int | None:
    """The step of which the memory is recorded over time: the first with warm starts that is not
    probed, since a probe needs memory of its own; None if a run has none."""
    steps = range(2, min(spec.steps, LAST_MEASURED) + 1)
    return next((step for step in steps if step % spec.probe_interval), None)


def _timeline_of(measured: MeasuredStep, step: int) -> TimelineEvent | None:
    try:
        return TimelineEvent.of(step, measured.timeline())
    except ValidationError as error:
        # More than fits into an event; a run is worth more than this picture of it.
        log.warning("the memory of step %d is not recorded: %s", step, one_sentence(error))
        return None


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Have the model in evaluation mode within."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _counts(costs: Sequence[StepCost]) -> dict[str, Any]:
    """The fields of a step event that are known by formula: the bytes of the largest micro-batch,
    and the multiplies of all."""
    if not costs:
        return {}
    return {
        "activation_bytes": max(cost.activation_bytes for cost in costs),
        "forward_macs": sum(cost.macs.forward for cost in costs),
        "overhead_macs": sum(cost.macs.overhead for cost in costs),
        "backward_macs": sum(cost.macs.backward for cost in costs),
    }


def _finite(loss: float, step: int) -> float:
    if not math.isfinite(loss):
        raise _diverged(f"the loss became {loss}", step)
    return loss


def _diverged(what: str, step: int) -> AsiError:
    return AsiError(f"{what} at step {step}: lower the learning rate or the momentum.")
