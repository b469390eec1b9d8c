"""`fine_tune` for runs by specification and for networks of one's own: the same events of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, overload

import torch.nn.functional as F
from torch import nn

from asi_core.compression.config import Compression
from asi_core.compression.report import PreparationReport
from asi_core.errors import InvalidInput
from asi_core.training import loop
from asi_core.training.checkpoint import TrainingState
from asi_core.training.events import Event
from asi_core.training.features import FeaturePool
from asi_core.training.loop import training_events
from asi_core.training.own_setup import Loss, OwnSetup
from asi_core.training.spec import RunSpec


class FineTuning(Iterator[Event]):
    """The training of one's own network: an iterator of its events, which trains as it is read.

    Attributes:
        report: what `prepare_` did to the network; `print` writes it as a table.
        spec: the run's specification, with the network named by its class.
        has_begun: whether an event was read.
        has_test: whether accuracy is evaluated on test images.
    """

    def __init__(self, setup: OwnSetup) -> None:
        self.report: PreparationReport = setup.report
        self.spec, self.has_test, self.has_begun = setup.spec, setup.has_test, False
        self._events = training_events(setup)

    def __next__(self) -> Event:
        self.has_begun = True
        return next(self._events)


@overload
def fine_tune(
    model: RunSpec,
    *,
    should_stop: Callable[[], bool] = ...,
    features: FeaturePool | None = ...,
    resume: TrainingState | None = ...,
    keep: Callable[[TrainingState], None] | None = ...,
) -> Iterator[Event]: ...


@overload
def fine_tune(
    model: nn.Module,
    batches: Iterable[Any],
    config: Compression,
    *,
    test: Iterable[Any] | None = ...,
    loss: Loss = ...,
    **recipe: Any,
) -> FineTuning: ...


def fine_tune(
    model: RunSpec | nn.Module,
    batches: Iterable[Any] | None = None,
    config: Compression | None = None,
    *,
    test: Iterable[Any] | None = None,
    loss: Loss = F.cross_entropy,
    **others: Any,
) -> Iterator[Event]:
    """Train, and yield events: a network by its name as `RunSpec` specifies, or one's own.

    Your own network is prepared at once (`prepare_`), in place and on its device, and is trained as
    events are read, by stochastic gradient descent with the schedule of all runs. The whole network
    runs at each step, in the mode that it is in (`model.train()` has dropout), and in evaluation
    mode on test images. The same seed, loader and network give the same numbers.

    Args:
        model: a specification, for which see `training.loop.fine_tune`; or any classifier.
        batches: for a module: a `DataLoader` or other iterable of inputs and labels (class
            indices), or of mappings with "labels"; read again and again.
        config: for a module: what is trained and how it is compressed.
        test: for a module: batches on which accuracy is evaluated; None for no evaluation.
        loss: for a module: computes the mean loss of class scores and labels.
        others: for a module, the recipe: `steps`, `seed` (of PyTorch's generator, set here),
            `optimizer`, `learning_rate`, `schedule`, `warmup_steps`, `final_rate`, `momentum`,
            `weight_decay`, `clip_norm`, `micro_batch`, `apply_early`, `evaluate_every`,
            `probe_every`, with meanings and defaults of `RunSpec`.

    Returns:
        An iterator of events. Of a module it is a `FineTuning`, which `keep_run` can store.

    Raises:
        InvalidInput: if layers, batches, labels or the recipe are not as they must be.
        Unsupported: if a layer cannot be compressed.
        AsiError: while it is read, if training diverges.

    Example:
        >>> config = Compression("asi", explained_variance=0.8, layers=4, also_trained=["fc"])
        >>> for event in fine_tune(model, loader, config, test=test_loader, steps=200):
        ...     print(event.kind, event.step)
    """
    if isinstance(model, RunSpec):
        if batches is not None or config is not None or test is not None:
            raise InvalidInput(
                "a specification names its own images", "batches besides it", "leave them out"
            )
        return loop.fine_tune(model, **others)
    if batches is None or not isinstance(config, Compression):
        raise InvalidInput(
            "fine_tune of a module takes batches and a Compression",
            f"{type(batches).__name__} and {type(config).__name__}",
            "write fine_tune(model, batches, Compression(method, layers=...))",
        )
    return FineTuning(OwnSetup(model, batches, config, test=test, loss=loss, recipe=others))
