"""Write docs/results.md from the runs of the poster's study in the store.

    python -m studies.poster.report

The store is the app's own, which imports the shipped runs at its start; nothing is measured here.
Every number comes from a run that is named beside it. Step times of other networks are those of
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
    """The content of docs/results.md."""
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
            "## Better than the published settings",
            better(study),
            "## Subspaces during training",
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
unless a row says otherwise. ASI updates its factors at every step, as published. The last k
convolutions and a new classifier are trained, with three seeds: numbers are means, with the sample
standard deviation after ±. {len(runs) + len(study.drift)}
runs ({prepared.device}, {prepared.threads} threads). In tables, "c 5" is the run at place 5 of each
seed's comparison, `example-poster-curves-0-5`, `-1-5` and `-2-5`, and "s" one of
`example-poster-settings`, "m" of `example-poster-small`; the Compare page shows all of them.

This does not repeat the poster's experiment: it uses fewer images and fewer steps. All settings are
compared under the same conditions. All runs together took {minutes:.0f} minutes, on a machine that
was also used for other work. Written by `python -m studies.poster.report` from the store; the runs
are made by `python -m studies.poster.run --ship --dataset imagefolder:PATH`; `--dataset cifar10`
uses all of torchvision's images, and needs no file."""


def _images(spec: RunSpec) -> str:
    if not spec.dataset.startswith(PREFIX):
        return "all of its images, from torchvision"
    return (
        "a fifth of its images:\n1 000 training and 200 test images per class, in a zip of JPEG "
        "files, `cifar10_small.zip`"
    )


def _once(study: Study) -> list[RunRecord]:
    """All runs, without copies that another part shares."""
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
