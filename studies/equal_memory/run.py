"""The study of equal memory: all methods and settings over two decades of a step's peak memory.

    python -m studies.equal_memory.run --dataset imagefolder:PATH|cifar10 [--minutes N]
        [--models mcunet_in1 efficientnet_lite0] [--layers 4 12 1 0]

Executes the missing runs and measurements in the app's own store, through the same specification,
loop and store as the pages, so that Compare shows them. It stops after `--minutes`, and resumes
where it stopped. `python -m studies.equal_memory.report` writes docs/equal_memory.md from the
store.

First the learning rate of every method and number of layers is chosen on the same grid: at one
setting, with a seed that the results do not have. Then every setting runs with three seeds at that
rate, and the memory of its step is measured once.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from asi_core.methods import METHODS, REFERENCE_KIND  # noqa: E402
from asi_core.runs.engine.foreground import work_through  # noqa: E402
from asi_core.runs.engine.job_worker import execute_job  # noqa: E402
from asi_core.runs.engine.worker import open_store  # noqa: E402
from asi_core.runs.records import RunRecord  # noqa: E402
from asi_core.runs.store.job_store import JobStore  # noqa: E402
from asi_core.runs.store.library import Description, RunLibrary  # noqa: E402
from asi_core.runs.store.run_store import RunStore  # noqa: E402
from asi_core.settings import read_settings  # noqa: E402
from asi_core.training.spec import RunSpec  # noqa: E402
from asi_core.zoo.cards import model_card  # noqa: E402
from studies.poster.run import taken_up  # noqa: E402

# Names of the study's comparisons begin with it; the report finds them by it.
NAME = "Equal memory"
RATES_NAME = f"{NAME}, rates"
_OWNER = "command line"
_TUNING_SEED = 100

# What the runs were made with, before ASI's factors were updated when needed by default.
_EVERY = {"update": "every_step"}

# Settings of each method besides its defaults, from those that need most to those that need least.
SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "asi": tuple(
        {**ranks, **_EVERY}
        for ranks in ({"explained_variance": 0.9}, {"explained_variance": 0.7}, {"ranks": 2})
    ),
    "hosvd": ({"explained_variance": 0.8},),
    "gradient_filter": ({"patch": 2}, {"patch": 4}),
    "fixed_subspace": ({"explained_variance": 0.8},),
    "velora": ({"subtoken": 16},),
    "lora": ({"lora_rank": 8},),
    "lora_fa": ({"lora_rank": 8},),
    "lora_asi": ({"explained_variance": 0.8, **_EVERY},),
    "sparse": ({"weight_budget_bytes": 2**20}, {"weight_budget_bytes": 2**17}),
    "wasi": ({"explained_variance": 0.8, **_EVERY},),
}
# With these, micro-batches add up to the gradient of the whole batch: one seed is enough for their
# time, and to see that their accuracy is the same.
_EXACT_IN_PARTS = frozenset(
    {REFERENCE_KIND, "checkpointing", "gradient_filter", "lora", "lora_fa", "sparse"}
)


@dataclass(frozen=True)
class Scale:
    """How large the study is.

    Attributes:
        sizes: image size of each network, by its name.
        layers: numbers of last layers that are trained; 0 is the linear probe.
        transformer_layers: of the transformer.
        micro_batches: images per pass; None for the whole batch.
        rates: learning rates that are tried for every method.
        transformer: a network of which bytes and time alone are measured, or None.
    """

    sizes: dict[str, int]
    layers: tuple[int, ...] = (4, 12, 1, 0)
    transformer_layers: int = 4
    micro_batches: tuple[int | None, ...] = (None, 8)
    rates: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.5)
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 150
    batch_size: int = 64
    kinds: tuple[str, ...] = tuple(METHODS)
    transformer: str | None = "vit_b_32"
    pretrained: bool = True


FULL = Scale({"mcunet_in1": 128, "efficientnet_lite0": 96})


class OutOfTime(Exception):
    """The time that was given is over."""


class Study:
    """The study's runs and measurements in the app's store.

    Args:
        has_time: asked before each comparison and measurement.
    """

    def __init__(self, dataset: str, scale: Scale, has_time: Callable[[], bool]) -> None:
        self.dataset, self.scale, self._has_time = dataset, scale, has_time
        url = read_settings().database_url
        self.store: RunStore = open_store(url)
        self.jobs, self._library = JobStore(url), RunLibrary(url)

    def execute(self) -> None:
        """Execute what is missing.

        Raises:
            OutOfTime: if it must stop before the end; a later call goes on from there.
        """
        for model in self.scale.sizes:
            for layers in self.scale.layers:
                # With no trained layer, all methods are the linear probe.
                kinds = self._kinds(model) if layers else [REFERENCE_KIND]
                rates = {kind: self._rate(model, kind, layers) for kind in kinds}
                for seed in self.scale.seeds:
                    specs = list(self._settings(model, layers, seed, rates))
                    about = f"{model_card(model).title}, {layers} layers, seed {seed}"
                    self._executed(f"{NAME}: {about}", specs)
                one_seed = list(self._settings(model, layers, self.scale.seeds[0], rates))
                self._measure("timeline", one_seed)
        if self.scale.transformer is not None:
            for kind in ("timeline", "measure"):
                self._measure(kind, list(self.of_transformer(self.scale.transformer)))

    def _kinds(self, model: str) -> list[str]:
        geometry = model_card(model).usual_geometry
        kinds = [k for k in self.scale.kinds if METHODS[k].why_unsupported(geometry) is None]
        return [REFERENCE_KIND, *(kind for kind in kinds if kind != REFERENCE_KIND)]

    def _rate(self, model: str, kind: str, layers: int) -> float:
        """The most accurate rate of the grid, the smallest of equal ones."""
        usual = {"kind": kind, **SETTINGS.get(kind, ({},))[0]}
        specs = [
            self._spec(model, usual, layers, _TUNING_SEED, learning_rate=rate)
            for rate in self.scale.rates
        ]
        title = f"{model_card(model).title}, {layers} layers, {METHODS[kind].label}"
        runs = self._executed(f"{RATES_NAME}: {title}", specs)
        # A rate at which training diverges has no accuracy.
        found = [((run.summary or {}).get("test_accuracy") or 0.0) for run in runs]
        return self.scale.rates[found.index(max(found))]

    def _settings(
        self, model: str, layers: int, seed: int, rates: dict[str, float]
    ) -> Iterator[RunSpec]:
        for kind, rate in rates.items():
            for settings in SETTINGS.get(kind, ({},)):
                for size in self._micro_batches(kind, seed):
                    method = {"kind": kind, **settings}
                    own = {"learning_rate": rate, "micro_batch": size}
                    yield self._spec(model, method, layers, seed, **own)

    def _micro_batches(self, kind: str, seed: int) -> tuple[int | None, ...]:
        sizes = self.scale.micro_batches
        is_known = kind in _EXACT_IN_PARTS and seed != self.scale.seeds[0]
        return tuple(size for size in sizes if size is None or not is_known)

    def _spec(
        self, model: str, method: dict[str, Any], layers: int, seed: int, **changes: Any
    ) -> RunSpec:
        scale = self.scale
        return RunSpec.model_validate(
            {
                "model": model,
                "dataset": self.dataset,
                "method": method,
                "layers": layers,
                "seed": seed,
                "steps": scale.steps,
                "batch_size": scale.batch_size,
                "image_size": scale.sizes.get(model, model_card(model).native_size),
                "evaluate_every": scale.steps,
                "probe_every": scale.steps,
                "pretrained": scale.pretrained and model in scale.sizes,
                **changes,
            }
        )

    def of_transformer(self, model: str) -> Iterator[RunSpec]:
        """The steps of a network with random weights, of which bytes and time are measured."""
        for kind in self._kinds(model):
            usual = {"kind": kind, **SETTINGS.get(kind, ({},))[0]}
            yield self._spec(model, usual, self.scale.transformer_layers, self.scale.seeds[0])

    def _executed(self, name: str, specs: Sequence[RunSpec]) -> list[RunRecord]:
        if not self._has_time():
            raise OutOfTime
        runs = taken_up(self.store, specs)
        self._library.describe(runs[0].comparison, Description(name))
        print(f"{name}: {len(runs)} runs", flush=True)
        work_through(self.store.url, runs, _print_progress)
        return self.store.comparison(runs[0].comparison)

    def _measure(self, kind: str, specs: Sequence[RunSpec]) -> None:
        """Measure a step of each specification of which the store has no such measurement."""
        known = self.jobs.answers(kind, specs)
        for spec in specs:
            if spec not in known:
                if not self._has_time():
                    raise OutOfTime
                job = self.jobs.create(kind, spec, _OWNER)
                execute_job(job.id, self.jobs.url)
                ended = self.jobs.job(job.id)
                assert ended is not None
                print(f"{kind}, {spec.method.settings_label}: {ended.status}", flush=True)


def _print_progress(number: int, ended: RunRecord) -> None:
    accuracy = (ended.summary or {}).get("test_accuracy")
    label = ended.spec.method.settings_label
    print(f"{number}. {label}: {ended.status}, accuracy {accuracy}", flush=True)


def main(arguments: Sequence[str] | None = None, scale: Scale = FULL) -> int:
    """Execute what is missing of the study, within the time that is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--models", nargs="+", choices=scale.sizes, default=list(scale.sizes))
    parser.add_argument("--layers", type=int, nargs="+", default=scale.layers)
    options = parser.parse_args(arguments)
    sizes = {model: scale.sizes[model] for model in options.models}
    scale = replace(scale, sizes=sizes, layers=tuple(options.layers))
    end = time.monotonic() + 60 * options.minutes
    try:
        Study(options.dataset, scale, lambda: time.monotonic() < end).execute()
    except OutOfTime:
        print("out of time: run this again to go on.")
        return 1
    print("complete: python -m studies.equal_memory.report writes docs/equal_memory.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
