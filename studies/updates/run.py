"""The study of factor updates: what reading each input once costs in accuracy.

    python -m studies.updates.run [--dataset imagefolder:PATH|cifar10] [--seeds 3]
        [--steps 200 600] [--models mcunet_in1 efficientnet_lite0]

Fine-tunes MCUNet on CIFAR-10, and EfficientNet-Lite0 on the images that come with the project, for
two lengths, with every update of the factors at equal bytes: the ranks are planned for a fiftieth
of what vanilla keeps. The missing runs are executed in the app's own store, so that Compare shows
them and an interrupted study resumes. MCUNet's weights must be available (`ASI_WEIGHTS_DIR`, or a
download). Ends with a table of all completed runs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean, stdev
from typing import Any

from asi_core.costs.estimate import estimate
from asi_core.methods import Vanilla
from asi_core.runs.engine.foreground import work_through
from asi_core.runs.engine.worker import open_store
from asi_core.runs.records import RunRecord
from asi_core.runs.store.library import Description, RunLibrary
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from studies.poster.run import taken_up

BATCH, DEPTH, RATIO = 64, 4, 50
LENGTHS = (200, 600)
MODELS = ("mcunet_in1", "efficientnet_lite0")
# What each row of the table is called, and its settings besides the budget.
UPDATES: Mapping[str, Mapping[str, Any]] = {
    "as published": {"sequential": False},
    "every step": {},
    "one step late": {"update": "one_step_late"},
    "when needed": {"update": "when_needed"},
}
VANILLA, PROBE = "vanilla", "linear probe"


@dataclass(frozen=True, slots=True)
class Case:
    """A network and its images.

    Attributes:
        title: for the names of comparisons.
        pixels: side of the images.
    """

    title: str
    model: str
    dataset: str
    pixels: int

    def spec(self, method: Mapping[str, Any], steps: int, seed: int, layers: int) -> RunSpec:
        """A run with the published recipe."""
        return RunSpec.model_validate(
            {
                "model": self.model,
                "dataset": self.dataset,
                "method": dict(method),
                "layers": layers,
                "seed": seed,
                "steps": steps,
                "batch_size": BATCH,
                "image_size": self.pixels,
                "evaluate_every": steps,
                "probe_every": steps,
            }
        )

    def budget(self) -> int:
        """Bytes: a fiftieth of what vanilla keeps by formula."""
        cost = estimate(
            self.model,
            Vanilla(),
            layers=DEPTH,
            batch_size=BATCH,
            image_size=self.pixels,
            convention="exact",
        )
        return cost.activation_bytes // RATIO

    def specs(self, steps: int, seed: int) -> dict[str, RunSpec]:
        """All runs of a length and seed, by their row of the table."""
        planned = {"kind": "asi", "budget_bytes": self.budget(), "bits": 8}
        own = {
            name: self.spec({**planned, **settings}, steps, seed, DEPTH)
            for name, settings in UPDATES.items()
        }
        plain = {"kind": "vanilla"}
        return {
            **own,
            VANILLA: self.spec(plain, steps, seed, DEPTH),
            PROBE: self.spec(plain, steps, seed, 0),
        }


def cases(cifar10: str) -> tuple[Case, ...]:
    """Both networks; `cifar10` is the data set or folder with its images."""
    return (
        Case("MCUNet on CIFAR-10", MODELS[0], cifar10, 128),
        Case("EfficientNet-Lite0 on Fashion-MNIST", MODELS[1], "fashion_mnist_small", 96),
    )


@dataclass(frozen=True, slots=True)
class Extent:
    """Which runs of the study are made."""

    cifar10: str
    seeds: int
    lengths: Sequence[int]
    models: Sequence[str]

    def comparisons(self) -> Iterator[tuple[Case, int, int]]:
        """Case, length and seed of each; all cases have one seed before any has two."""
        chosen = [case for case in cases(self.cifar10) if case.model in self.models]
        for seed, steps, case in product(range(self.seeds), self.lengths, chosen):
            yield case, steps, seed


def run_study(extent: Extent) -> dict[tuple[str, int, str], list[RunRecord]]:
    """Execute what is missing; runs by case, length and row of the table."""
    store = open_store(read_settings().database_url)
    library = RunLibrary(store.url)
    found: dict[tuple[str, int, str], list[RunRecord]] = {}
    for case, steps, seed in extent.comparisons():
        name = f"Factor updates: {case.title}, {steps} steps, seed {seed}"
        specs = case.specs(steps, seed)
        runs = taken_up(store, list(specs.values()))
        library.describe(runs[0].comparison, Description(name))
        print(f"{name}: {len(runs)} runs", flush=True)
        work_through(store.url, runs, lambda number, run: print(f"  {_line(run)}", flush=True))
        ended = store.comparison(runs[0].comparison)
        for row, run in zip(specs, ended, strict=True):
            found.setdefault((case.title, steps, row), []).append(run)
    library.close()
    return found


def _line(run: RunRecord) -> str:
    accuracy = (run.summary or {}).get("test_accuracy")
    return f"{run.spec.method.settings_label}, k = {run.spec.layers}: {run.status}, {accuracy}"


def table(found: Mapping[tuple[str, int, str], Sequence[RunRecord]]) -> str:
    """Test accuracy in per cent, mean and standard deviation over the seeds, and the mean
    difference from the update at every step with the same seed."""
    lines = ["| | steps | update | accuracy, % | against every step, points | bytes |"]
    lines += ["|---|--:|---|--:|--:|--:|"]
    for (case, steps, row), runs in found.items():
        accuracy = _accuracies(runs)
        usual = _accuracies(found[case, steps, "every step"])
        gaps = [a - b for a, b in zip(accuracy, usual, strict=True)]
        kept = fmean((run.summary or {})["activation_bytes"] for run in runs)
        cells = (case, f"{steps}", row, _spread(accuracy), _spread(gaps, "+.2f"), f"{kept:.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _accuracies(runs: Sequence[RunRecord]) -> list[float]:
    return [100 * (run.summary or {})["test_accuracy"] for run in runs]


def _spread(values: Sequence[float], form: str = ".2f") -> str:
    deviation = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):{form}}{deviation}"


def main() -> int:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    options = parser.parse_args()
    started = time.perf_counter()
    found = run_study(Extent(options.dataset, options.seeds, options.steps, options.models))
    runs = [run for each in found.values() for run in each]
    print(f"{len(runs)} runs, {time.perf_counter() - started:.0f} s", flush=True)
    if any(run.status != "completed" for run in runs):
        raise SystemExit("some runs failed: see Compare and their logs.")
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
