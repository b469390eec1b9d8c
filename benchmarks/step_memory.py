"""What a training step keeps and what it needs: measured, by formula, and in micro-batches.

    python -m benchmarks.step_memory            print the tables
    python -m benchmarks.step_memory --write    write docs/step_memory.md

Bytes are measured in one real step (`asi_core measure --timeline`). Times are medians of steps that
alternate in one process, as ratios. Weights are random: with given ranks they change no byte.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from asi_core.costs.timeline.records import Timeline, Use
from asi_core.methods import METHODS, USUAL_RANKS, Method
from asi_core.planning import plan
from asi_core.records import Ranks
from asi_core.training.calibration import calibrate
from asi_core.training.features import FeaturePool
from asi_core.training.formula_memory import formula_memory
from asi_core.training.measuring import measure_memory
from asi_core.training.setup import TrainingSetup
from asi_core.training.spec import RunSpec
from asi_core.training.step import TrainingStep
from asi_core.units import GIB, MIB
from asi_core.zoo.cards import MODELS, ModelCard

PAGE = Path(__file__).resolve().parents[1] / "docs" / "step_memory.md"
POOL = FeaturePool(2 * GIB)
# Network and batch of the first table; the last four layers, 224 pixels.
TAILS = (("mobilenet_v2", 64), ("mcunet_in1", 64), ("resnet18", 16))
MICRO_BATCHES = (1, 8, 64)
ROUNDS = 5

TEXT = """# What a training step keeps, and what it needs

The bytes *kept* from the forward to the backward pass are what the paper counts. A device must
hold the *peak*: what is kept, and whatever else is alive at the worst moment. It is measured by the
allocator's own reports and, independently, by following every storage; the two agree between any
two operators. What is there before the step (weights, batch or its frozen features, warm starts,
optimiser state) is not included.

Written by `python -m benchmarks.step_memory --write`: batch and layers as stated, 224 pixels, ranks
{ranks} (as many as the layer has modes), SGD, MiB.

## Kept and needed

The last 4 convolutions. *Plain vanilla* has PyTorch's own layers in its default memory layout;
all others have lean layers. *Early* applies each gradient as soon as it is complete.

{tails}

## Micro-batches

MCUNet-in1, last 4 convolutions, batch 64. A step adds up the gradients of its parts, so the weights
are those of the whole batch to rounding. ASI's factors are updated every step. *Time* is the
step's, relative to vanilla's with the whole batch, on {threads} threads.

{micro}

## Formula and measurement

By formula, a step is run on shapes alone: the same operators, no weights and no images. The last 4
layers, batch {batch}. Where the two differ by more than 10 %, the last column says why.

{formulas}
"""


def main() -> int:
    """Measure, and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write docs/step_memory.md")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    text = TEXT.format(
        ranks=" x ".join(map(str, USUAL_RANKS)),
        tails=_table(("network", "", "kept", "peak", "less", "where the peak is"), _tails()),
        micro=_table(("micro-batch", "method", "kept", "peak", "time"), _micro_batches()),
        formulas=_table(("network", "method", "formula", "measured", "difference"), _formulas()),
        threads=torch.get_num_threads(),
        batch=16,
    )
    if options.write:
        PAGE.write_text(text)
    else:
        print(text)
    return 0


def _spec(model: str, batch: int, method: Any, **changes: Any) -> RunSpec:
    given = {"model": model, "layers": 4, "batch_size": batch, "image_size": 224}
    return RunSpec.model_validate({"pretrained": False, "method": method, **given, **changes})


def _tails() -> Iterator[Sequence[str]]:
    asi = METHODS["asi"](ranks=USUAL_RANKS, update="every_step")
    ways: list[tuple[str, Any, dict[str, Any]]] = [
        ("Plain vanilla", METHODS["vanilla"](), {"lean": False}),
        ("Plain vanilla, early", METHODS["vanilla"](), {"lean": False, "apply_early": True}),
        ("Vanilla", METHODS["vanilla"](), {}),
        ("ASI", asi, {}),
        ("ASI, early", asi, {"apply_early": True}),
    ]
    others = ("checkpointing", "gradient_filter", "eight_bit")
    ways += [(METHODS[kind].label, METHODS[kind](), {}) for kind in others]
    for model, batch in TAILS:
        plain: int | None = None
        for label, method, changes in ways:
            found = measure_memory(_spec(model, batch, method, **changes), POOL)
            plain = plain or found.peak.nbytes
            yield (
                f"{MODELS[model].title}, batch {batch}",
                label,
                f"{found.kept_bytes / MIB:.2f}",
                f"{found.peak.nbytes / MIB:.2f}",
                f"{plain / found.peak.nbytes:.2f}x",
                _where(found),
            )


def _where(found: Timeline) -> str:
    peak = found.peak
    largest = next(iter(peak.by_use))
    return f"{peak.moment.phase}, {peak.moment.place}: {largest}"


def _micro_batches() -> Iterator[Sequence[str]]:
    ways = [
        (size, method)
        for size in MICRO_BATCHES
        for method in (METHODS["vanilla"](), METHODS["asi"](ranks=USUAL_RANKS, update="every_step"))
    ]
    specs = [_spec("mcunet_in1", 64, method, micro_batch=size) for size, method in ways]
    seconds = _step_seconds(specs)
    whole = seconds[ways.index((MICRO_BATCHES[-1], METHODS["vanilla"]()))]
    for (size, method), spec, own in zip(ways, specs, seconds, strict=True):
        found = measure_memory(spec, POOL)
        yield (
            str(size),
            method.label,
            f"{found.kept_bytes / MIB:.3f}",
            f"{found.peak.nbytes / MIB:.2f}",
            f"{own / whole:.2f}",
        )


def _step_seconds(specs: Sequence[RunSpec]) -> list[float]:
    """Median seconds of a step of each specification, in turns."""
    setups = [TrainingSetup(spec, POOL, torch.device("cpu")) for spec in specs]
    steps = [TrainingStep(setup) for setup in setups]
    batches = [setup.read(next(setup.batches(0))) for setup in setups]
    times: list[list[float]] = [[] for _ in specs]
    # The first prepare warm starts and kernels.
    first = max(spec.method.warm_up_steps for spec in specs)
    for number in range(first + ROUNDS):
        for step, (values, labels), own in zip(steps, batches, times, strict=True):
            start = time.perf_counter()
            step(values, labels, rate=0.01)
            own += [time.perf_counter() - start] if number >= first else []
    return [statistics.median(own) for own in times]


def _formulas() -> Iterator[Sequence[str]]:
    for model, card in MODELS.items():
        for method in _methods(card):
            spec = _spec(model, 16, method)
            formula = formula_memory(spec, ranks=_planned(spec))
            measured = measure_memory(spec, POOL)
            difference = formula.peak.nbytes / measured.peak.nbytes - 1
            yield (
                card.title,
                method.label,
                f"{formula.peak.nbytes / MIB:.2f}",
                f"{measured.peak.nbytes / MIB:.2f}",
                f"{100 * difference:+.1f} %{_why(formula, measured, difference)}",
            )


def _planned(spec: RunSpec) -> Mapping[str, Ranks] | None:
    """The ranks that are planned on the images, if the method has a budget."""
    budget = spec.method.memory_budget
    return None if budget is None else plan(calibrate(spec, POOL), budget).ranks


def _why(formula: Timeline, measured: Timeline, difference: float) -> str:
    """The operator whose inner memory has no rule, if that is what differs."""
    if abs(difference) <= 0.1:
        return ""
    moment = measured.peak.moment
    inside = measured.peak.by_use.get(str(Use.INSIDE), 0)
    return f": {moment.operator} of {moment.place} needs {inside / MIB:.2f} MiB within"


def _methods(card: ModelCard) -> list[Method]:
    ranks = USUAL_RANKS if card.modes == len(USUAL_RANKS) else USUAL_RANKS[0]
    return [
        method(ranks=ranks) if "ranks" in method.model_fields else method()
        for method in METHODS.values()
        if method.why_unsupported(card.usual_geometry) is None
    ]


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{'|'.join('---' for _ in heads)}|"]
    for row in rows:
        print(*row, file=sys.stderr)
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
