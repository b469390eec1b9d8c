"""The poster's further claims, and the measurements made with this app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from asi_core.methods import ASI, METHODS, PUBLISHED, REFERENCE_KIND
from asi_core.poster import poster_facts, poster_rows
from asi_core.results.poster_study import PAPER_MACS
from asi_core.runs.records import EXAMPLE_OWNER, RunRecord
from asi_core.runs.store.job_store import JobRecord, JobStore
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.validity.rows import check_record
from asi_core.runs.validity.specs import InvalidRun
from asi_core.training.spec import RunSpec
from asi_core.units import format_seconds, layer_count
from dashboard.plain import plain
from dashboard.poster.study import study

_MOST_COMPARISONS = 10
# Of a step, as summaries name them.
_PARTS = ("backward_median", "step_median")


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of the poster, the result here, and an explanation."""

    said: str
    here: str
    why: str


def measurements(jobs: JobStore) -> list[JobRecord]:
    """The newest measurements of the published methods with their usual settings, if any."""
    usual = (RunSpec(method=METHODS[kind].usual()) for kind in PUBLISHED)
    found = [jobs.latest("measure", spec, "completed") for spec in usual]
    return [job for job in found if job is not None]


def measured_table(jobs: list[JobRecord]) -> pd.DataFrame:
    """One row per method: bytes by formula, and measured."""
    return pd.DataFrame(
        [
            {
                "method": job.spec.method.settings_label,
                "formula_bytes": _result(job)["formula_bytes"],
                "layers_measured_bytes": sum(
                    layer["measured_bytes"] for layer in _result(job)["layers"]
                ),
                "all_saved_bytes": _result(job)["saved_bytes"]["total"],
                "where": "shipped" if job.owner == EXAMPLE_OWNER else "this machine",
            }
            for job in jobs
        ]
    )


def claims(store: RunStore) -> list[Claim]:
    """The poster's claims that formulas cannot check."""
    headline, rows = poster_facts()["headline"], poster_rows("paper")
    unknown = [row for row in rows if row.memory.computed is None]
    return [
        Claim(
            f"{len(rows)} top-1 accuracies on ImageNet",
            "not measured",
            "ImageNet's 1.28 million images may not be redistributed, and one row takes days on a "
            "laptop. The Train page measures accuracy on images that come with the app.",
        ),
        Claim(
            f"Memory of HOSVD and ASI ({len(unknown)} cells), cost of ASI "
            f"({sum(row.cost.computed is None for row in rows)} cells)",
            "not computable",
            "They depend on the ranks, which were found on ImageNet batches and are not printed. "
            "For given ranks, formula and measurement agree to the byte (below).",
        ),
        Claim(
            f"{headline['memory_ratio_same_accuracy']} × less memory and "
            f"{headline['cost_ratio_same_accuracy']} × cheaper at the same accuracy",
            _equal_accuracy(store),
            "The poster compares points of equal accuracy on two curves over the number of trained "
            "layers (MCUNet on CIFAR-10); here is the best point of the curves above.",
        ),
        Claim(
            f"{headline['mean_speedup_vs_vanilla']} × faster on average, backward up to 10 ×",
            _step_times(store),
            "Times depend on the machine and its libraries. Measured here: the median step of the "
            "whole trained part, in the newest comparison of both.",
        ),
    ]


def _equal_accuracy(store: RunStore) -> str:
    found = study(store)
    memory, cost = (found and found.best(name) for name in ("activation_bytes", PAPER_MACS))
    if not memory or not cost:
        return "not measured: the shipped study is not in this store"
    return (
        f"{memory[0]:.0f} × less memory (at the accuracy of vanilla with "
        f"{layer_count(memory[1])}), {cost[0]:.2f} × cheaper ({layer_count(cost[1])})"
    )


def _step_times(store: RunStore) -> str:
    """Backward pass and step of ASI against vanilla in the newest comparison that ran both."""
    for runs in store.latest_comparisons(_MOST_COMPARISONS, imported=False):
        timed = [run for run in runs if run.spec.layers and _timed(run)]
        # With several depths, choose one that has both methods.
        depths = [run.spec.layers for run in timed if run.spec.method.kind == ASI.class_kind()]
        alike = [run for run in timed if run.spec.layers == depths[0]] if depths else []
        ended = {run.spec.method.kind: run for run in reversed(alike)}
        both = (REFERENCE_KIND, ASI.class_kind())
        if set(both) <= set(ended):
            vanilla, asi = (_seconds(ended[kind]) for kind in both)
            spec = ended[ASI.class_kind()].spec
            return (
                f"{spec.model_label}, {plain(layer_count(spec.layers))}, "
                f"{spec.method.settings_label}: backward "
                f"{_ratio(vanilla, asi, _PARTS[0])}, step {_ratio(vanilla, asi, _PARTS[1])}"
            )
    return "not measured yet"


def _timed(run: RunRecord) -> bool:
    if run.status != "completed" or run.summary is None:
        return False
    try:
        check_record(run)
    except InvalidRun:
        return False
    seconds = run.summary.get("seconds", {})
    return all(seconds.get(part) is not None for part in _PARTS)


def _seconds(run: RunRecord) -> dict[str, float]:
    assert run.summary is not None
    seconds: dict[str, float] = run.summary["seconds"]
    return seconds


def _ratio(vanilla: dict[str, float], asi: dict[str, float], part: str) -> str:
    return f"{format_seconds(asi[part])} against vanilla's {format_seconds(vanilla[part])}"


def _result(job: JobRecord) -> dict[str, Any]:
    assert job.result is not None
    return job.result
