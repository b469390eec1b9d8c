"""The study of one mebibyte: MCUNet, pretrained on ImageNet, on CIFAR-10.

    python -m studies.one_mebibyte.run [--dataset imagefolder:PATH|cifar10] [--write]

`fit` finds a setting whose whole training step, frozen forward passes included, needs less than
1 MiB, `measure_need` confirms it, and runs in the app's own store compare its accuracy with
vanilla's at the same layers and with the head alone. `--write` makes docs/one_mebibyte.md.
MCUNet's weights must be available (`ASI_WEIGHTS_DIR`, or a download).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from asi_core.costs.needs import Need  # noqa: E402
from asi_core.datasets.imagefolder import PREFIX  # noqa: E402
from asi_core.methods import Vanilla  # noqa: E402
from asi_core.runs.engine.foreground import work_through  # noqa: E402
from asi_core.runs.engine.worker import open_store  # noqa: E402
from asi_core.runs.records import RunRecord  # noqa: E402
from asi_core.runs.store.library import Description, RunLibrary  # noqa: E402
from asi_core.runs.submit.service import request_runs  # noqa: E402
from asi_core.settings import read_settings  # noqa: E402
from asi_core.training.features import installed_pool  # noqa: E402
from asi_core.training.fitting import Fitting, fit  # noqa: E402
from asi_core.training.formula_memory import formula_need  # noqa: E402
from asi_core.training.measuring import measure_need  # noqa: E402
from asi_core.training.spec import RunSpec  # noqa: E402
from asi_core.units import KIB, MIB, format_bytes, three_digits  # noqa: E402

MODEL, PIXELS = "mcunet_in1", 96
BATCH, LEAST, MOST = 4, 2, 4
STEPS, RATE = 2500, 0.01
SEEDS = (0, 1, 2)
SMALL = 320 * KIB
# Sizes at which a smaller device is tried, largest first.
SMALL_PIXELS = (96, 80, 64)
_OWNER = "command line"
PAGE = ROOT / "docs" / "one_mebibyte.md"


def recipe(dataset: str, **changes: Any) -> RunSpec:
    """The recipe of all runs; `changes` are fields of a run."""
    return RunSpec.model_validate(
        {
            "model": MODEL,
            "dataset": dataset,
            "method": Vanilla(),
            "layers": MOST,
            "batch_size": BATCH,
            "image_size": PIXELS,
            "steps": STEPS,
            "learning_rate": RATE,
            "evaluate_every": STEPS // 4,
            "probe_every": STEPS,
            **changes,
        }
    )


def found_setting(dataset: str) -> tuple[Fitting, Need]:
    """What `fit` finds for 1 MiB, and what a measured step of it needs."""
    found = fit(recipe(dataset), MIB, least_layers=LEAST)
    if not found.fits:
        raise SystemExit(f"nothing fits into 1 MiB: {format_bytes(found.total_bytes)} are needed")
    return found, measure_need(found.setting.spec, installed_pool())


def runs_of(spec: RunSpec, seed: int) -> list[RunSpec]:
    """The setting, vanilla at the same layers, and the head alone."""
    own = spec.model_copy(update={"seed": seed})
    vanilla = own.model_copy(update={"method": Vanilla()})
    return [own, vanilla, vanilla.model_copy(update={"layers": 0})]


def train(spec: RunSpec) -> list[list[RunRecord]]:
    """The missing runs of all seeds; a list for each seed."""
    store = open_store(read_settings().database_url)
    library = RunLibrary(store.url)
    found = []
    for seed in SEEDS:
        specs = runs_of(spec, seed)
        runs = request_runs(store, specs, _OWNER, most=len(specs))
        library.describe(runs[0].comparison, Description(f"1 MiB, seed {seed}"))
        work_through(store.url, runs, _print_progress)
        found.append(store.comparison(runs[0].comparison))
    library.close()
    return found


def _print_progress(number: int, ended: RunRecord) -> None:
    accuracy = (ended.summary or {}).get("test_accuracy")
    print(f"{number}. {ended.spec.method.settings_label}: {ended.status}, {accuracy}", flush=True)


def small_device(dataset: str) -> Iterator[tuple[str, int, Need]]:
    """What the head alone, and the last layer, need at batch 1: label, pixels, need."""
    for layers, label in ((0, "the head alone"), (1, "the last layer, vanilla")):
        for pixels in SMALL_PIXELS:
            changes = {"layers": layers, "batch_size": 1, "image_size": pixels}
            spec = recipe(dataset, **changes, apply_early=True)
            yield label, pixels, formula_need(spec)


def accuracies(runs: Sequence[Sequence[RunRecord]]) -> list[list[float]]:
    """Accuracy by seed of each kind of run, in percent; one that failed ends the study."""
    found = []
    for kind in range(len(runs[0])):
        summaries = [of_seed[kind].summary or {} for of_seed in runs]
        found.append([100 * summary["test_accuracy"] for summary in summaries])
    return found


def page(dataset: str, found: Fitting, measured: Need, scores: list[list[float]]) -> str:
    """The study as a page."""
    spec = found.setting.spec
    flash = format_bytes(found.setting.need.frozen_weights)
    gap = [a - b for a, b in zip(scores[0], scores[1], strict=True)]
    labels = (spec.method.settings_label, "Vanilla, same layers", "Head alone")
    rows = [
        f"| {label} | {' | '.join(f'{s:.2f}' for s in own)} | {fmean(own):.2f} |"
        for label, own in zip(labels, scores, strict=True)
    ]
    breakdown = [
        f"| {use} | {format_bytes(n)} |" for use, n in found.setting.need.breakdown.items()
    ]
    vanilla = formula_need(spec.model_copy(update={"method": Vanilla()}))
    small = list(small_device(dataset))
    return "\n".join(
        (
            "# One mebibyte",
            "",
            "Written by `python -m studies.one_mebibyte.run --write`. MCUNet-in1, pretrained on "
            f"ImageNet, on CIFAR-10 at {PIXELS} px, batch {BATCH}, single precision. A whole step "
            "counts: the frozen forward pass of each image, one after the other, the trained "
            "part's passes and update, trained weights, warm starts. Frozen weights "
            f"({flash}) are read from flash.",
            "",
            "## What fits",
            "",
            f"`fit` chooses **{spec.method.settings_label}**, the last {spec.layers} layers, "
            "gradients applied as they come"
            if spec.apply_early
            else f"`fit` chooses **{spec.method.settings_label}**, the last {spec.layers} layers",
            f": {found.total_bytes:,} bytes by formula, "
            f"{measured.total(frozen_in_flash=True):,} measured, of {MIB:,}. Vanilla at the same "
            f"layers and batch needs {vanilla.total(frozen_in_flash=True):,} by formula.",
            "",
            "| use, at the worst moment | bytes |",
            "|---|--:|",
            *breakdown,
            "",
            "## Accuracy",
            "",
            f"{STEPS:,} steps, SGD without momentum, rate {RATE:g}, percent of the test images.",
            "",
            f"| run | {' | '.join(f'seed {s}' for s in SEEDS)} | mean |",
            f"|---|{'--:|' * (len(SEEDS) + 1)}",
            *rows,
            "",
            f"The setting that fits is {fmean(gap):+.2f} points from vanilla in the mean "
            f"({', '.join(f'{g:+.2f}' for g in gap)} by seed).",
            "",
            "## 320 KiB",
            "",
            "Batch 1, gradients applied as they come, by formula:",
            "",
            "| what is trained | pixels | needed | of 320 KiB |",
            "|---|--:|--:|--:|",
            *(
                f"| {label} | {pixels} | {format_bytes(total)} | "
                f"{three_digits(100 * total / SMALL)} % |"
                for label, pixels, need in small
                for total in [need.total(frozen_in_flash=True)]
            ),
            "",
        )
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="cifar10", help=f"cifar10 or {PREFIX}PATH")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    found, measured = found_setting(options.dataset)
    print(found.setting.spec.method.settings_label, found.total_bytes, measured.as_dict())
    scores = accuracies(train(found.setting.spec))
    text = page(options.dataset, found, measured, scores)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
