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

# Names of the study's comparisons begin with it; the report finds them by it.
NAME = "Factor updates"
BATCH, DEPTH, RATIO = 64, 4, 50
LENGTHS = (200, 600)
MODELS = ("mcunet_in1", "efficientnet_lite0")
# What each row of the table is called, and its settings besides the budget.
UPDATES: Mapping[str, Mapping[str, Any]] = {
    "as published": {"sequential": False},
    "every step": {"update": "every_step"},
    "one step late": {"update": "one_step_late"},
    "when needed": {"update": "when_needed"},
}
VANILLA, PROBE = "vanilla", "linear probe"
# In the order of a comparison's runs.
ROWS = (*UPDATES, VANILLA, PROBE)


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

    def name(self, steps: int, seed: int) -> str:
        """What the comparison of a length and seed is called in the store."""
        return f"{NAME}: {self.title}, {steps} steps, seed {seed}"

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


def run_study(extent: Extent) -> list[RunRecord]:
    """Execute what is missing; all runs of the study."""
    store = open_store(read_settings().database_url)
    library = RunLibrary(store.url)
    found: list[RunRecord] = []
    for case, steps, seed in extent.comparisons():
        name = case.name(steps, seed)
        runs = taken_up(store, list(case.specs(steps, seed).values()))
        library.describe(runs[0].comparison, Description(name))
        print(f"{name}: {len(runs)} runs", flush=True)
        work_through(store.url, runs, lambda number, run: print(f"  {_line(run)}", flush=True))
        found += store.comparison(runs[0].comparison)
    library.close()
    return found


def _line(run: RunRecord) -> str:
    accuracy = (run.summary or {}).get("test_accuracy")
    return f"{run.spec.method.settings_label}, k = {run.spec.layers}: {run.status}, {accuracy}"


def main() -> int:
    """Run what is missing of the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    options = parser.parse_args()
    started = time.perf_counter()
    runs = run_study(Extent(options.dataset, options.seeds, options.steps, options.models))
    print(f"{len(runs)} runs, {time.perf_counter() - started:.0f} s", flush=True)
    if any(run.status != "completed" for run in runs):
        raise SystemExit("some runs failed: see Compare and their logs.")
    print("complete: python -m studies.updates.report writes docs/factor_updates.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
