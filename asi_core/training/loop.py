"""The fine-tuning loop: from a run specification to events. Independent of stores and pages."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core.costs.accounting import StepCost, known_step_cost, with_batch
from asi_core.costs.measurement import SavedBytes
from asi_core.errors import AsiError, Unavailable, one_sentence
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.watching import Watched, watched
from asi_core.training.balance import balanced_accuracy, is_very_unbalanced
from asi_core.training.batches import batch_indices
from asi_core.training.calibration import plan_ranks_
from asi_core.training.checkpoint import TrainingState, restore_, state_of
from asi_core.training.events import (
    EvaluationEvent,
    Event,
    PreparedEvent,
    ProbeEvent,
    StepEvent,
)
from asi_core.training.features import FeaturePool, installed_pool, values_an_image
from asi_core.training.layout import layout_name
from asi_core.training.probes import probe_layers
from asi_core.training.setup import TrainingSetup, default_device
from asi_core.training.spec import RunSpec

log = logging.getLogger(__name__)

_EVALUATION_BATCH = 256
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
        keep: called with the run's state after every evaluation and probe, and every half minute,
            once all events up to there have been consumed.

    Raises:
        AsiError: if weights or data are unavailable, or training diverges.
    """
    pool = features or installed_pool()
    session = _Session(spec, pool, default_device())
    done = session.taken_up(resume)
    yield session.prepared()
    batches = batch_indices(len(session.setup.data.train), spec.batch_size, spec.seed)
    kept_at = time.monotonic()
    for step, indices in enumerate(islice(batches, done, spec.steps), done + 1):
        if should_stop():
            return
        probe = step == 1 or step % spec.probe_interval == 0
        evaluates = step % spec.evaluation_interval == 0 or step == spec.steps
        yield from session.step(step, indices, probe, evaluates)
        late = time.monotonic() - kept_at > _KEEP_SECONDS
        if keep is not None and step < spec.steps and (probe or evaluates or late):
            keep(session.state(step))
            kept_at = time.monotonic()


class _Session:
    """A setup and its optimiser."""

    def __init__(self, spec: RunSpec, pool: FeaturePool, device: torch.device) -> None:
        self.spec, self.device = spec, device
        self.setup = TrainingSetup(spec, pool, device)
        plan_ranks_(self.setup, pool)
        self.tail, self.layer_names = self.setup.tail, self.setup.layer_names
        self._parameters = self.setup.trained_parameters()
        self._optimiser = torch.optim.SGD(
            self._parameters,
            lr=spec.learning_rate,
            momentum=spec.momentum,
            weight_decay=spec.weight_decay,
        )

    def taken_up(self, state: TrainingState | None) -> int:
        """Resume from `state`; returns the number of completed steps."""
        if state is None:
            return 0
        try:
            restore_(state, self.tail, self._optimiser, self.setup.sources)
        except Unavailable as error:
            log.warning("%s", one_sentence(error))
            return 0
        log.info("resumed after step %d", state.step)
        return state.step

    def state(self, step: int) -> TrainingState:
        return state_of(self.spec, step, self.tail, self._optimiser, self.setup.sources)

    def step(self, step: int, indices: Tensor, probe: bool, evaluates: bool) -> Iterator[Event]:
        probed = self.layer_names if probe else []
        with watched(self.tail, probed) as notes:
            trained = self.train_step(step, indices)
        yield trained
        if probed:
            yield self.probe(step, notes)
        if evaluates:
            yield self.evaluate(step)

    def prepared(self) -> PreparedEvent:
        return PreparedEvent(
            step=0,
            layers=self.setup.shapes,
            trained_parameters=sum(p.numel() for p in self._parameters),
            frozen_values=values_an_image(self.setup.values("train", torch.tensor([0]))),
            device=str(self.device),
            threads=torch.get_num_threads(),
            layout=layout_name(self.setup.layout),
            images=self.setup.image_counts(),
        )

    def train_step(self, step: int, indices: Tensor) -> StepEvent:
        rate = learning_rate(self.spec, step)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        # Cleared here and not after the update: a probe reads the gradients in between.
        self._optimiser.zero_grad()
        clock = _Clock(self.device)
        values, labels = self.setup.batch(indices)
        prefix_seconds = clock.lap()
        with SavedBytes(self.tail) as saved:
            logits: Tensor = self.tail(*values)
            loss = F.cross_entropy(logits, labels)
        forward_seconds = clock.lap()
        loss.backward()
        backward_seconds = clock.lap()
        nn.utils.clip_grad_norm_(self._parameters, self.spec.clip_norm)
        self._optimiser.step()
        update_seconds = clock.lap()
        return StepEvent(
            step=step,
            loss=_finite(loss.item(), step),
            accuracy=(logits.argmax(1) == labels).float().mean().item(),
            learning_rate=rate,
            prefix_seconds=prefix_seconds,
            forward_seconds=forward_seconds,
            backward_seconds=backward_seconds,
            update_seconds=update_seconds,
            saved_bytes=saved.total,
            **_counts(self._cost(len(indices))),
        )

    @torch.no_grad()
    def evaluate(self, step: int) -> EvaluationEvent:
        loss = 0.0
        labels = self.setup.data.test.labels
        count, right = len(labels), np.zeros(len(labels), np.bool_)
        for indices in torch.arange(count).split(_EVALUATION_BATCH):
            logits = self.tail(*self.setup.values("test", indices))
            wanted = self.setup.test_labels[indices]
            right[indices] = (logits.argmax(1) == wanted).cpu()
            loss += float(F.cross_entropy(logits, wanted, reduction="sum"))
        correct = int(right.sum())
        log.info("step %d: %d of %d test images correct", step, correct, count)
        return EvaluationEvent(
            step=step,
            accuracy=correct / count,
            loss=_finite(loss / count, step),
            balanced_accuracy=(
                balanced_accuracy(labels, right) if is_very_unbalanced(labels) else None
            ),
        )

    def probe(self, step: int, notes: Mapping[str, Watched]) -> ProbeEvent:
        clock = _Clock(self.device)
        layers = probe_layers(self.tail, notes)
        event = ProbeEvent(step=step, layers=layers, seconds=clock.lap())
        if not event.has_json:
            raise _diverged("values in the layers became infinite or NaN", step)
        return event

    def _cost(self, batch_size: int) -> StepCost | None:
        """Costs by formula, with the ranks in use in this step."""
        ranks = {}
        for name in self.layer_names:
            layer = self.tail.get_submodule(name)
            ranks[name] = layer.ranks if isinstance(layer, CompressedLayer) else None
        shapes = [with_batch(shape, batch_size) for shape in self.setup.shapes]
        return known_step_cost(shapes, self.spec.method, "exact", ranks)


def learning_rate(spec: RunSpec, step: int) -> float:
    """Cosine schedule from the initial rate to `final_rate` times it at the last step."""
    progress = (step - 1) / max(spec.steps - 1, 1)
    share = spec.final_rate + (1 - spec.final_rate) * (1 + math.cos(math.pi * progress)) / 2
    return spec.learning_rate * share


def _counts(cost: StepCost | None) -> dict[str, Any]:
    """The fields of a step event that are known by formula."""
    if cost is None:
        return {}
    macs = cost.macs
    return {
        "activation_bytes": cost.activation_bytes,
        "forward_macs": macs.forward,
        "overhead_macs": macs.overhead,
        "backward_macs": macs.backward,
    }


class _Clock:
    """Seconds between laps, after synchronising the device."""

    def __init__(self, device: torch.device) -> None:
        self._queued = device.type != "cpu"
        self._last = self._now()

    def lap(self) -> float:
        before, self._last = self._last, self._now()
        return self._last - before

    def _now(self) -> float:
        if self._queued:
            torch.accelerator.synchronize()
        return time.perf_counter()


def _finite(loss: float, step: int) -> float:
    if not math.isfinite(loss):
        raise _diverged(f"the loss became {loss}", step)
    return loss


def _diverged(what: str, step: int) -> AsiError:
    return AsiError(f"{what} at step {step}: lower the learning rate or the momentum.")
