"""Time a step of the trained part in the app's default comparison, each method beside vanilla.

    python -m benchmarks.default_step

Steps of all methods alternate in one process, on new images each time, with all threads; numbers
are medians, with quartiles, and their ratio to vanilla's. The first steps are not counted: factors
settle in them.
"""

from __future__ import annotations

import statistics
import sys
import time

from asi_core.methods import ASI, HOSVD, USUAL_EXPLAINED_VARIANCE, GradientFilter, Method, Vanilla
from asi_core.training.features import installed_pool
from asi_core.training.setup import TrainingSetup, default_device
from asi_core.training.spec import RunSpec
from asi_core.training.step import TrainingStep

_ROUNDS = 30
_METHODS: tuple[Method, ...] = (
    Vanilla(),
    ASI(explained_variance=USUAL_EXPLAINED_VARIANCE),
    ASI(explained_variance=USUAL_EXPLAINED_VARIANCE, update="every_step"),
    HOSVD(explained_variance=USUAL_EXPLAINED_VARIANCE),
    GradientFilter(),
)


def main() -> int:
    pool, device = installed_pool(), default_device()
    setups = [TrainingSetup(RunSpec(method=method), pool, device) for method in _METHODS]
    steps = [TrainingStep(setup) for setup in setups]
    first = max(method.warm_up_steps for method in _METHODS)
    seconds: list[list[float]] = [[] for _ in steps]
    # All have the same seed, and so the same batches.
    for number, indices in zip(range(first + _ROUNDS), setups[0].batches(0), strict=False):
        for setup, step, own in zip(setups, steps, seconds, strict=True):
            values, labels = setup.read(indices)
            started = time.perf_counter()
            step(values, labels, rate=0.01)
            own += [time.perf_counter() - started] if number >= first else []
    vanilla = statistics.median(seconds[0])
    for method, own in zip(_METHODS, seconds, strict=True):
        low, middle, high = (1e3 * part for part in statistics.quantiles(own, n=4))
        print(
            f"{method.settings_label:32} {middle:6.1f} ms ({low:.1f} to {high:.1f}), "
            f"{statistics.median(own) / vanilla:.2f} of vanilla's"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
