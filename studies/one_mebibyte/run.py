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
from asi_core.methods import ASI, Vanilla  # noqa: E402
from asi_core.runs.engine.foreground import work_through  # noqa: E402
from asi_core.runs.engine.worker import open_store  # noqa: E402
from asi_core.runs.records import RunRecord  # noqa: E402
from asi_core.runs.store.library import Description, RunLibrary  # noqa: E402
from asi_core.runs.submit.service import request_runs  # noqa: E402
from asi_core.settings import read_settings  # noqa: E402
from asi_core.training.features import installed_pool  # noqa: E402
from asi_core.training.fit_result import Fitting  # noqa: E402
from asi_core.training.fitting import fit  # noqa: E402
from asi_core.training.formula_memory import formula_need  # noqa: E402
from asi_core.training.measuring import measure_need  # noqa: E402
from asi_core.training.reproduce import step_in_words  # noqa: E402
from asi_core.training.spec import RunSpec  # noqa: E402
from asi_core.units import KIB, MIB, format_bytes, three_digits  # noqa: E402

MODEL, PIXELS, BATCH = "mcunet_in1", 96, 8
# Pointwise convolutions in the middle: little weight, and gradients larger than the last layers'.
LAYERS = tuple(
    f"blocks.{block}.mobile_inverted_conv.{part}.conv"
    for block in (9, 10)
    for part in ("inverted_bottleneck", "point_linear")
)
STEPS, RATE = 2500, 0.02
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
            "layers": " ".join(LAYERS),
            "batch_size": BATCH,
            "image_size": PIXELS,
            "steps": STEPS,
            "learning_rate": RATE,
            "evaluate_every": STEPS // 4,
            "probe_every": STEPS,
            **changes,
        }
    )


def found_settings(dataset: str) -> dict[str, tuple[Fitting, Need]]:
    """What `fit` finds for 1 MiB among all methods, and among ASI's plans alone, each with what a
    measured step of it needs."""
    found = {}
    for label, methods in (("all methods", None), ("ASI alone", [ASI])):
        fitting = fit(recipe(dataset), MIB, least_layers=len(LAYERS), methods=methods)
        if not fitting.fits:
            needed = format_bytes(fitting.total_bytes)
            raise SystemExit(f"{label}: nothing fits into 1 MiB, {needed} are needed")
        found[label] = fitting, measure_need(fitting.setting.spec, installed_pool())
        total = found[label][1].total(frozen_in_flash=True)
        print(label, step_in_words(fitting.setting.spec), fitting.total_bytes, total, flush=True)
    return found


def runs_of(specs: Sequence[RunSpec], seed: int) -> list[RunSpec]:
    """The settings, vanilla with whole batches at the same layers, and the head alone."""
    own = [spec.model_copy(update={"seed": seed}) for spec in specs]
    whole = {"method": Vanilla(), "micro_batch": None, "apply_early": False}
    vanilla = own[0].model_copy(update=whole)
    return [*own, vanilla, vanilla.model_copy(update={"layers": 0})]


def train(settings: Sequence[RunSpec]) -> list[list[RunRecord]]:
    """The missing runs of all seeds; a list for each seed."""
    store = open_store(read_settings().database_url)
    library = RunLibrary(store.url)
    found = []
    for seed in SEEDS:
        specs = runs_of(settings, seed)
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
    """What trained layers need on the smaller device: label, pixels, need."""
    trained = {
        "the head alone": 0,
        "the four convolutions": " ".join(LAYERS),
        f"`{LAYERS[0]}`": LAYERS[0],
    }
    for label, layers in trained.items():
        for pixels in SMALL_PIXELS:
            changes = {"layers": layers, "batch_size": 1, "image_size": pixels}
            yield label, pixels, formula_need(recipe(dataset, **changes, apply_early=True))


def accuracies(runs: Sequence[Sequence[RunRecord]]) -> list[list[float]]:
    """Accuracy by seed of each kind of run, in percent; one that failed ends the study."""
    found = []
    for kind in range(len(runs[0])):
        summaries = [of_seed[kind].summary or {} for of_seed in runs]
        found.append([100 * summary["test_accuracy"] for summary in summaries])
    return found


def page(found: dict[str, tuple[Fitting, Need]], scores: list[list[float]], small: str) -> str:
    """The study as a page."""
    first, _ = found["all methods"]
    whole = formula_need(
        first.setting.spec.model_copy(
            update={"method": Vanilla(), "micro_batch": None, "apply_early": False}
        )
    )
    fits = [
        f"| {label} | {step_in_words(f.setting.spec)} | {f.total_bytes:,} | "
        f"{measured.total(frozen_in_flash=True):,} | "
        f"{100 * (f.setting.gradient_error or 0):.1f} % |"
        for label, (f, measured) in found.items()
    ]
    uses = [f"| {use} | {n:,} |" for use, n in first.setting.need.breakdown.items()]
    labels = [f"fit, {label}" for label in found]
    rows = [
        f"| {label} | {' | '.join(f'{s:.2f}' for s in own)} | {fmean(own):.2f} |"
        for label, own in zip(
            (*labels, "Vanilla, whole batches", "Head alone"), scores, strict=True
        )
    ]
    gaps = [
        f"{label} is {fmean(gap):+.2f} points from vanilla with whole batches in the mean "
        f"({', '.join(f'{g:+.2f}' for g in gap)} by seed)."
        for label, own in zip(labels, scores, strict=False)
        for gap in [[a - b for a, b in zip(own, scores[-2], strict=True)]]
    ]
    return _PAGE.format(
        pixels=PIXELS,
        batch=BATCH,
        layers="\n".join(f"- `{name}`" for name in LAYERS),
        flash=f"{first.setting.need.frozen_weights:,}",
        budget=f"{MIB:,}",
        fits="\n".join(fits),
        whole=f"{whole.total(frozen_in_flash=True):,}",
        uses="\n".join(uses),
        steps=f"{STEPS:,}",
        rate=f"{RATE:g}",
        seeds=" | ".join(f"seed {seed}" for seed in SEEDS),
        line="--:|" * (len(SEEDS) + 1),
        rows="\n".join(rows),
        gaps="\n".join(gaps),
        small=small,
    )


def small_table(dataset: str) -> str:
    """The part about the smaller device: a table, and what is missing."""
    rows, missing = [], []
    for label, pixels, need in small_device(dataset):
        total = need.total(frozen_in_flash=True)
        share = three_digits(100 * total / SMALL)
        rows.append(f"| {label} | {pixels} | {total:,} | {share} % |")
        if total > SMALL and pixels == SMALL_PIXELS[-1]:
            (use, largest), *_ = need.breakdown.items()
            missing.append(
                f"At {pixels} px, training {label} takes {total - SMALL:,} bytes too much; most "
                f"is taken by the {use}, {largest:,} bytes."
            )
    return "\n".join([*rows, "", *missing])


_PAGE = """# One mebibyte

Written by `python -m studies.one_mebibyte.run --write`. MCUNet-in1, pretrained on ImageNet, on
CIFAR-10 (10,000 training and 2,000 test images) at {pixels} px, batch {batch}, in single precision.
What counts is a whole step: the frozen forward pass of each image, one after the other, the trained
part's passes, the update, trained weights and warm starts. Frozen weights ({flash} bytes) are read
from flash. Four convolutions are trained, and the classifier:

{layers}

## What fits

| search | setting | bytes by formula | bytes measured | gradient lost |
|---|---|--:|--:|--:|
{fits}

The budget is {budget} bytes. Vanilla with whole batches needs {whole} by formula. What the first
setting needs at its worst moment:

| use | bytes |
|---|--:|
{uses}

## Accuracy

{steps} steps, SGD without momentum, rate {rate}; percent of the test images.

| run | {seeds} | mean |
|---|{line}
{rows}

{gaps}

## 320 KiB

By formula, with gradients applied as they come and batches of one image:

| what is trained | pixels | bytes | of 320 KiB |
|---|--:|--:|--:|
{small}
"""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="cifar10", help=f"cifar10 or {PREFIX}PATH")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    found = found_settings(options.dataset)
    settings = [fitting.setting.spec for fitting, _ in found.values()]
    scores = accuracies(train(settings))
    text = page(found, scores, small_table(options.dataset))
    if options.write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
