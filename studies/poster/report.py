"""Write docs/results.md from the poster's study as the store has it.

    python -m studies.poster.report

The store is the app's own, to which the shipped runs come at its start; nothing is measured here.
Every figure is one of a run, which is named beside it. Step times of other networks are those of
docs/performance.json.
"""

from __future__ import annotations

import sys
from pathlib import Path

from asi_core.datasets.imagefolder import PREFIX
from asi_core.runs.exchange.example_jobs import import_example_jobs
from asi_core.runs.exchange.examples import SHIPPED_FOLDER, import_examples
from asi_core.runs.records import RunRecord
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.training.spec import RunSpec
from studies.poster.claims import claims
from studies.poster.study import Study
from studies.poster.tables import (
    accuracy,
    better,
    cost,
    drifts,
    equal,
    memory,
    others,
    small,
)

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "results.md"


def document(study: Study) -> str:
    """The whole of docs/results.md."""
    return "\n\n".join(
        (
            _head(study),
            "## The claims",
            claims(study),
            "## Accuracy over trained layers",
            accuracy(study),
            "## Bytes kept for backward",
            memory(study),
            "## Multiplies and time of a step",
            cost(study),
            "## At equal accuracy",
            equal(study),
            "## What is better than the published settings",
            better(study),
            "## Subspaces while training",
            drifts(study),
            "## 256 KB",
            small(study),
            "## Other networks",
            others(),
            "",
        )
    )


def _head(study: Study) -> str:
    spec = study.vanilla[0].runs[0].spec
    prepared = study.prepared(study.vanilla[0].runs[0])
    minutes = sum(_minutes(run) for run in _once(study))
    runs = [run for s in (*study.curves, *study.settings, *study.small) for run in s.runs]
    return f"""# The poster's claims, tested

MCUNet-in1, pretrained on ImageNet, fine-tuned on CIFAR-10 ({_images(spec)}),
{spec.image_size} pixels, batch {spec.batch_size}, {spec.steps} steps,
with the recipe of ASI's authors (SGD at {spec.learning_rate:g}, cosine to a tenth,
weight decay {spec.weight_decay:g}, gradients clipped at {spec.clip_norm:g}, no momentum)
unless a row says otherwise. The last k convolutions and a new classifier are trained, with three
seeds: figures are means, with the sample's deviation after ±. {len(runs) + len(study.drift)} runs
({prepared.device}, {prepared.threads} threads). In tables, "c 5" is the run at place 5 of each
seed's comparison, `example-poster-curves-0-5`, `-1-5` and `-2-5`, and "s" one of
`example-poster-settings`, "m" of `example-poster-small`; Compare has them all.

This is no repetition of the poster's experiment: fewer images, fewer steps. What is compared is
compared under the same conditions. All runs together took {minutes:.0f} minutes, on a machine that
did other things meanwhile. Written by `python -m studies.poster.report` from the store; the runs
are made by `python -m studies.poster.run --ship --dataset imagefolder:PATH`; `--dataset cifar10`
takes torchvision's images, all of them, and needs no file."""


def _images(spec: RunSpec) -> str:
    if not spec.dataset.startswith(PREFIX):
        return "all of its images, from torchvision"
    return (
        "a fifth of its images:\n1 000 training and 200 test images a class, in a zip of JPEG "
        "files, `cifar10_small.zip`"
    )


def _once(study: Study) -> list[RunRecord]:
    """All runs, without copies of those that another part had asked for too."""
    every = (*study.curves, *study.settings, *study.small)
    runs = [*(run for setting in every for run in setting.runs), *study.drift]
    return list({(run.started_at, run.spec): run for run in runs}.values())


def _minutes(run: RunRecord) -> float:
    assert run.started_at is not None
    assert run.finished_at is not None
    return (run.finished_at - run.started_at) / 60


def main() -> int:
    """Write the document."""
    settings = read_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    store, jobs = RunStore(settings.database_url), JobStore(settings.database_url)
    import_examples(store, SHIPPED_FOLDER)
    import_example_jobs(jobs, SHIPPED_FOLDER / "jobs")
    TARGET.write_text(document(Study(store, jobs)))
    store.close()
    jobs.close()
    print(TARGET.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
