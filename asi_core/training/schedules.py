"""The learning rate of each step of a run."""

from __future__ import annotations

from math import cos, pi

from asi_core.training.spec import RunSpec


def learning_rate(spec: RunSpec, step: int) -> float:
    """The rate of a step, counted from 1.

    In a warm-up it rises linearly, to the initial rate at the last step of the warm-up. From there
    it stays constant, or falls along half a cosine to `final_rate` times the initial one at the
    last step.
    """
    if step <= spec.warmup_steps:
        return spec.learning_rate * step / spec.warmup_steps
    if spec.schedule == "constant":
        return spec.learning_rate
    # Without a warm-up, the first step has the initial rate.
    first = max(spec.warmup_steps, 1)
    progress = (step - first) / max(spec.steps - first, 1)
    share = spec.final_rate + (1 - spec.final_rate) * (1 + cos(pi * progress)) / 2
    return spec.learning_rate * share
