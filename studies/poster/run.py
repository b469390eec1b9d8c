"""The poster's study: MCUNet, pretrained on ImageNet, fine-tuned on CIFAR-10.

    python -m studies.poster.run [--dataset imagefolder:PATH|cifar10] [--ship]

Executes the missing runs in the app's own store, so that Compare shows them and an interrupted
study resumes. MCUNet's weights must be available (`ASI_WEIGHTS_DIR`, or a download). `--ship` then
writes the runs to `data/examples/`, from which `python -m studies.poster.report` makes
docs/results.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from asi_core.datasets.imagefolder import PREFIX  # noqa: E402
from asi_core.methods.registry import METHOD_ADAPTER  # noqa: E402
from asi_core.results.outcomes import single_outcomes  # noqa: E402
from asi_core.results.poster_study import vanilla_bytes  # noqa: E402
from asi_core.runs.engine.foreground import work_through  # noqa: E402
from asi_core.runs.engine.worker import open_store  # noqa: E402
from asi_core.runs.exchange.example_jobs import write_example_job  # noqa: E402
from asi_core.runs.exchange.examples import SHIPPED_FOLDER, write_example  # noqa: E402
from asi_core.runs.job_kinds import job_kind  # noqa: E402
from asi_core.runs.records import RunRecord  # noqa: E402
from asi_core.runs.store.library import Description, RunLibrary  # noqa: E402
from asi_core.runs.store.run_store import RunStore  # noqa: E402
from asi_core.runs.submit.fingerprint import fingerprints_of  # noqa: E402
from asi_core.runs.submit.service import request_runs  # noqa: E402
from asi_core.settings import read_settings  # noqa: E402
from asi_core.training.features import installed_pool  # noqa: E402
from asi_core.training.spec import RunSpec  # noqa: E402
from asi_core.units import layer_count  # noqa: E402

MODEL, PIXELS, BATCH = "mcunet_in1", 128, 64
DEPTHS = (12, 8, 6, 4, 2, 1)  # the deepest first: the others extend its frozen features
SEEDS = (0, 1, 2)
STEPS = 600
# Depth at which settings are compared, and depth on the small device.
DEPTH = 4
SMALL_DEVICE_BYTES = 256 * 1024
_DATASET = "cifar10"
_OWNER = "command line"
_LATEST = 1000
# Interval of the shipped steps; means and medians use all steps.
_SHIPPED_STEP = 10

VANILLA = {"kind": "vanilla"}
# Iterated at every step, as published.
_ASI = {"kind": "asi", "update": "every_step"}
PAPER = {**_ASI, "explained_variance": 0.8}
EIGHT_BITS = {**PAPER, "bits": 8}
MORE_RANKS = {**_ASI, "explained_variance": 0.9, "bits": 8}
HOSVD = {"kind": "hosvd", "explained_variance": 0.8}
FILTER = {"kind": "gradient_filter", "patch": 2}
MOMENTUM = {"momentum": 0.9, "learning_rate": 0.02}


def planned(layers: int, ratio: int, **settings: Any) -> dict[str, Any]:
    """ASI with ranks planned for `ratio` times fewer bytes than vanilla keeps by formula."""
    whole = vanilla_bytes(spec("cifar10", VANILLA, layers, 0))
    return {**_ASI, "budget_bytes": whole // ratio, **settings}


def spec(dataset: str, method: dict[str, Any], layers: int, seed: int, **changes: Any) -> RunSpec:
    """A run of the study: the published recipe, probed at its beginning and end."""
    return RunSpec.model_validate(
        {
            "model": MODEL,
            "dataset": dataset,
            "method": method,
            "layers": layers,
            "seed": seed,
            "steps": STEPS,
            "batch_size": BATCH,
            "image_size": PIXELS,
            "evaluate_every": STEPS // 4,
            "probe_every": STEPS,
            **changes,
        }
    )


def curves(dataset: str, seed: int) -> Iterator[RunSpec]:
    """All methods at all depths, and the linear probe."""
    for layers in DEPTHS:
        for method in (VANILLA, PAPER, EIGHT_BITS, planned(layers, 50, bits=8), HOSVD, FILTER):
            yield spec(dataset, method, layers, seed)
    yield spec(dataset, VANILLA, 0, seed)


def settings(dataset: str, seed: int) -> Iterator[RunSpec]:
    """Settings that may improve on the published algorithm, one change each."""
    changed: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({**PAPER, "sequential": False}, {}),
        ({**PAPER, "bits": 16}, {}),
        ({**PAPER, "refresh_every": 4}, {}),
        (MORE_RANKS, {}),
        ({**MORE_RANKS, "refresh_every": 4}, {}),
        ({**_ASI, "explained_variance": 0.9}, {}),
        (planned(DEPTH, 50), {}),
        (planned(DEPTH, 120, bits=8), {}),
        ({**_ASI, "ranks": (31, 32, 3, 3), "bits": 8}, {}),
        ({**_ASI, "ranks": 1}, {}),
        (VANILLA, MOMENTUM),
        (PAPER, MOMENTUM),
        (EIGHT_BITS, MOMENTUM),
        (MORE_RANKS, MOMENTUM),
        (planned(DEPTH, 50, bits=8), MOMENTUM),
    ]
    for method, changes in changed:
        yield spec(dataset, method, DEPTH, seed, **changes)


def drift(dataset: str) -> Iterator[RunSpec]:
    """Two runs that are probed often."""
    for method in (PAPER, HOSVD):
        yield spec(dataset, method, DEPTH, 0, probe_every=STEPS // 20)


def small(dataset: str) -> Iterator[RunSpec]:
    """The last layers at the largest batch whose real bytes fit the small device, and vanilla."""
    batch = largest_batch(spec(dataset, MORE_RANKS, DEPTH, 0, **MOMENTUM))
    for seed in SEEDS:
        for method in (MORE_RANKS, VANILLA):
            yield spec(dataset, method, DEPTH, seed, batch_size=batch, **MOMENTUM)


def largest_batch(run_spec: RunSpec, most: int = 256) -> int:
    """The largest batch for which a measured step keeps at most the small device's memory."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        kept = measured(run_spec.model_copy(update={"batch_size": middle}))["saved_bytes"]["total"]
        low, high = (middle, high) if kept <= SMALL_DEVICE_BYTES else (low, middle - 1)
    return low


def measured(run_spec: RunSpec) -> dict[str, Any]:
    """Measure one step by both meters, which agree or raise."""
    return job_kind("measure").answer(run_spec, installed_pool())


def taken_up(store: RunStore, specs: Sequence[RunSpec]) -> list[RunRecord]:
    """The newest comparison of exactly these runs with results of the current code, or a new one
    with copies of all known results."""
    answers = store.answered(fingerprints_of(specs))
    for runs in store.latest_comparisons(_LATEST):
        if [run.spec for run in runs] != list(specs):
            continue
        ended = [n for n, run in enumerate(runs) if not run.is_active]
        if all(runs[n].status == "completed" and n in answers for n in ended):
            return runs
        # What still waits there is asked for again below; nobody else executes it.
        for run in runs:
            if run.status == "queued" and run.owner == _OWNER:
                store.request_cancel(run.id)
    return request_runs(store, specs, _OWNER, most=len(specs))


def comparisons(dataset: str) -> Iterator[tuple[str, str, list[RunSpec]]]:
    """Key, name and runs of each comparison."""
    for seed in SEEDS:
        name = f"Poster: accuracy over trained layers, seed {seed}"
        yield f"curves-{seed}", name, list(curves(dataset, seed))
    for seed in SEEDS:
        name = f"Poster: settings of ASI at {DEPTH} layers, seed {seed}"
        yield f"settings-{seed}", name, list(settings(dataset, seed))
    yield "drift", "Poster: spectra while training", list(drift(dataset))
    yield "small", "Poster: 256 KB", list(small(dataset))


def run_study(dataset: str) -> dict[str, list[RunRecord]]:
    """All comparisons, by key."""
    store = open_store(read_settings().database_url)
    library = RunLibrary(store.url)
    found: dict[str, list[RunRecord]] = {}
    for key, name, specs in comparisons(dataset):
        runs = taken_up(store, specs)
        library.describe(runs[0].comparison, Description(name))
        print(f"{name}: {len(runs)} runs", flush=True)
        work_through(store.url, runs, _print_progress)
        found[key] = store.comparison(runs[0].comparison)
    library.close()
    return found


def _print_progress(number: int, ended: RunRecord) -> None:
    (outcome,) = single_outcomes([ended])
    accuracy = (ended.summary or {}).get("test_accuracy")
    message = f"{number}. {outcome.label}, {layer_count(ended.spec.layers)}: {ended.status}"
    print(f"{message}, accuracy {accuracy}", flush=True)


def ship(study: dict[str, list[RunRecord]]) -> None:
    """Write the study to `data/examples/`, without the path of the images."""
    store = open_store(read_settings().database_url)
    parts = {f"poster-{name}": runs for name, runs in study.items()}
    # The comparison that a first visit to Train shows.
    parts["cifar10"] = first_shown(study[f"curves-{SEEDS[0]}"])
    for name, runs in parts.items():
        path = SHIPPED_FOLDER / f"{name}.json.gz"
        shown = [replace(run, spec=without_folder(run.spec)) for run in runs]
        write_example(store, shown, path, step_every=_SHIPPED_STEP)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KiB")
    largest = {run.spec.method.kind: run.spec for run in reversed(study["small"])}
    usual = largest["asi"].model_copy(update={"batch_size": BATCH})
    for name, run_spec in (*largest.items(), (f"asi-{BATCH}", usual)):
        path = write_example_job(
            SHIPPED_FOLDER / "jobs",
            f"poster-small-{name}",
            "measure",
            without_folder(run_spec),
            measured(run_spec),
        )
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KiB")


def first_shown(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Of one seed's runs at all depths those with most layers, and the linear probe: each method
    once, ASI also at the ranks planned for a fiftieth of vanilla's bytes."""
    deepest, left_out = max(DEPTHS), METHOD_ADAPTER.validate_python(EIGHT_BITS)
    return [
        run
        for run in runs
        if run.spec.layers == 0 or (run.spec.layers == deepest and run.spec.method != left_out)
    ]


def without_folder(run_spec: RunSpec) -> RunSpec:
    """The specification with only the file name of the images, without this machine's folder."""
    name = run_spec.dataset
    if name.startswith(PREFIX):
        name = PREFIX + Path(name.removeprefix(PREFIX)).name
    return run_spec.model_copy(update={"dataset": name})


def main() -> int:
    """Run the study; write the shipped files if requested."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default=_DATASET)
    parser.add_argument("--ship", action="store_true")
    options = parser.parse_args()
    started = time.perf_counter()
    study = run_study(options.dataset)
    print(f"{sum(map(len, study.values()))} runs, {time.perf_counter() - started:.0f} s")
    if any(run.status != "completed" for runs in study.values() for run in runs):
        raise SystemExit("some runs failed: see Compare and their logs.")
    if options.ship:
        ship(study)
    return 0


if __name__ == "__main__":
    sys.exit(main())
