"""Limits on runs and jobs, enforced by the services for all callers, not only by pages."""

from __future__ import annotations

from collections.abc import Iterable

from asi_core.errors import InvalidInput
from asi_core.runs.submit.footprint import run_bytes
from asi_core.settings import Settings
from asi_core.training.spec import RunSpec
from asi_core.units import format_bytes
from asi_core.zoo.cards import model_card


def check_specs(specs: Iterable[RunSpec], settings: Settings) -> None:
    """Check that each run is within the limits of this installation.

    Raises:
        InvalidInput: if one exceeds the limits, or has a setting that its model does not support.
    """
    limits = settings.limits
    for spec in specs:
        _at_most(limits.steps, spec.steps, "a run may have at most {} steps here")
        _at_most(limits.image_size, spec.image_size, "images may be at most {} pixels wide here")
        card = model_card(spec.model)
        if spec.train_norm and card.layer_kind == "linear":
            raise InvalidInput(
                "training normalisations needs a model with batch normalisations",
                f"{card.title}, which has none",
                "keep them frozen",
            )
        most, needed = _most_bytes(settings), run_bytes(spec)
        if most is not None and needed > most:
            raise InvalidInput(
                f"a run may take at most {format_bytes(most)} of memory here",
                f"about {format_bytes(needed)} by estimate for {spec.method.label} at batch "
                f"{spec.batch_size} and {spec.image_size} pixels",
                "choose a smaller batch, smaller images or fewer layers",
            )


def _most_bytes(settings: Settings) -> int | None:
    """Memory that one run may use; None if unknown."""
    if settings.limits.run_bytes is not None:
        return settings.limits.run_bytes
    if settings.scheduler is not None:
        return None
    # Imported here, as it is slow and rarely needed.
    from asi_core.runs.machine import machine_bytes

    return settings.worker_memory_bytes or machine_bytes() // settings.workers


def _at_most(most: int, value: int, rule: str) -> None:
    if value > most:
        raise InvalidInput(rule.format(most), value, "choose less")
