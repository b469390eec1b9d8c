"""When a completed run can be lengthened, and the specification of the longer run."""

from __future__ import annotations

from asi_core.errors import InvalidInput, Unsupported
from asi_core.training.schedules import learning_rate
from asi_core.training.spec import RunSpec


def lengthened(spec: RunSpec, steps: int) -> RunSpec:
    """The run of `steps` steps whose first ones are all those of `spec`, number by number.

    It is evaluated and probed as often as `spec`, in steps, so that the intervals are written out.

    Raises:
        InvalidInput: if it would not be longer.
        Unsupported: if a longer run has other learning rates from the start, as with a cosine
            schedule, or if `spec` trains a network of the user's own.

    Example:
        >>> spec = RunSpec(method=Vanilla(), steps=150, schedule="constant")
        >>> lengthened(spec, 300).evaluation_interval
        15
    """
    spec.check_can_be_repeated()
    if steps <= spec.steps:
        raise InvalidInput(
            f"a longer run must have more than the {spec.steps} steps that are done",
            steps,
            "choose more",
        )
    intervals = {"evaluate_every": spec.evaluation_interval, "probe_every": spec.probe_interval}
    longer = spec.model_copy(update={"steps": steps, **intervals})
    done = range(1, spec.steps + 1)
    if any(learning_rate(spec, step) != learning_rate(longer, step) for step in done):
        raise Unsupported(
            f"the {spec.schedule} schedule ends with the run, so a run of {steps} steps has other "
            "learning rates from its first steps on: train it from the start, or choose the "
            "constant schedule for runs that are to be lengthened."
        )
    return longer
