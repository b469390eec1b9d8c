"""The study's results, and how their numbers are formatted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

from asi_core.results.poster_study import (
    CURVES,
    DRIFT,
    SETTINGS,
    SMALL,
    AtEqualAccuracy,
    Setting,
    series,
    study_settings,
)
from asi_core.runs.records import RunRecord
from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.run_store import RunStore
from asi_core.training.events import PreparedEvent

PERFORMANCE = Path(__file__).resolve().parents[2] / "docs" / "performance.json"
_LETTERS = {"curves": "c", "settings": "s", "small": "m", "drift": "d"}
KIB, GIGA = 1024, 1e9
# Accuracies closer than this to the linear probe's are left out.
_WORTH = 0.01


class Study:
    """The study's runs and jobs in the store."""

    def __init__(self, store: RunStore, jobs: JobStore) -> None:
        self.store, self.jobs = store, jobs
        self.curves = study_settings(store, CURVES)
        self.settings = study_settings(store, SETTINGS)
        self.small = study_settings(store, SMALL)
        self.drift = store.comparison(*DRIFT)
        self.series = series(self.curves)
        self.head = next(s for s in self.curves if not s.layers)
        self.depths = sorted({s.layers for s in self.curves if s.layers})

    def of(self, kind: str) -> list[list[Setting]]:
        """The series of a method."""
        return [each for each in self.series.values() if each[0].method.kind == kind]

    @property
    def vanilla(self) -> list[Setting]:
        (found,) = self.of("vanilla")
        return found

    @property
    def published(self) -> list[Setting]:
        """ASI as in the paper, first of its series."""
        return self.of("asi")[0]

    def at(self, curve: Sequence[Setting], layers: int) -> Setting:
        return next(s for s in curve if s.layers == layers)

    @property
    def floor(self) -> float:
        """The minimum accuracy from which on training layers is an improvement."""
        return fmean(self.head.prices("accuracy")) + _WORTH

    def prepared(self, run: RunRecord) -> PreparedEvent:
        """The prepared event of a run."""
        (found,) = self.store.events(run.id, "prepared")
        assert isinstance(found, PreparedEvent)
        return found


def kept(setting: Setting) -> float:
    return fmean(setting.prices("activation_bytes"))


def cases() -> list[dict[str, Any]]:
    """The small-batch cases of docs/performance.json, with vanilla's step over each
    configuration's."""
    return _cases(json.loads(PERFORMANCE.read_text()))


def _cases(found: dict[str, Any]) -> list[dict[str, Any]]:
    cases = []
    for case in found["end_to_end"]:
        if case["batch_size"] != 64:
            continue
        seconds = {way: timed["median"] for way, timed in case["seconds"].items()}
        ratio = {way: seconds["vanilla_nchw"] / s for way, s in seconds.items()}
        cases.append({**case, "ratio": ratio, "limit": case["arithmetic_limit"]})
    return cases


@dataclass(frozen=True)
class Speed:
    """Vanilla's step over ASI's on one machine, a geometric mean over networks and k."""

    machine: str
    asi: float
    refreshed: float
    limit: float


def speeds() -> list[Speed]:
    """Speeds of all measured machines, that of docs/performance.json first."""
    paths = [PERFORMANCE, *sorted(PERFORMANCE.parent.glob("performance-*.json"))]
    return [_speed(json.loads(path.read_text())) for path in paths]


def _speed(found: dict[str, Any]) -> Speed:
    machine, timed = found["environment"], _cases(found)
    return Speed(
        f"{machine['processor'].removesuffix(' Processor')} ({machine['cpu_capability']})",
        *(geometric_mean(case["ratio"][way] for case in timed) for way in ("asi", "asi_refreshed")),
        geometric_mean(case["limit"] for case in timed),
    )


def seconds(setting: Setting, part: str) -> float:
    return fmean((run.summary or {})["seconds"][part] for run in setting.runs)


def percent(setting: Setting) -> str:
    found = setting.spread("accuracy")
    spread = "" if found.deviation is None else f" ± {100 * found.deviation:.1f}"
    return f"{100 * found.mean:.1f}{spread}"


def ratio(at: AtEqualAccuracy) -> str:
    reached = [ratio for ratio in at.by_seed if ratio is not None]
    if at.ratio is None:
        return f"not reached ({len(reached)} of {len(at.by_seed)} seeds)"
    digits = 0 if at.ratio >= 10 else 2
    between = f"{min(reached):.{digits}f} to {max(reached):.{digits}f}, " if reached else ""
    return f"{at.ratio:.{digits}f} ({between}{len(reached)} of {len(at.by_seed)})"


def at_accuracy(setting: Setting) -> str:
    return f"{100 * fmean(setting.prices('accuracy')):.1f} % (k = {setting.layers})"


def share(energy: float | None) -> str:
    return "–" if energy is None else f"{energy:.3f}"


def between(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def names(runs: Iterable[RunRecord]) -> str:
    """Run names such as "c 5, 11": for several seeds, the places in their comparisons."""
    found = sorted({(_LETTERS[run.comparison.split("-")[2]], run.position) for run in runs})
    return f"{found[0][0]} " + ", ".join(str(position) for _, position in found)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
