"""The study of equal memory at its smallest: it stops, resumes, and is written from the store."""

from __future__ import annotations

import json
import re
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from asi_core.costs.timeline.records import Category, Lifetime, Moment, Timeline, Use
from asi_core.results.equal_memory import MemoryPoint, best_of_each, step_bytes, winners
from asi_core.results.outcomes import outcomes_by_seed
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.training import loop
from asi_core.training.spec import RunSpec
from studies.equal_memory.report import Found, document, figure, main
from studies.equal_memory.run import OutOfTime, Scale, Study
from tests.datasets.few import few_images
from tests.runs.kept import asi, keep, spec

TINY = Scale(
    {"mcunet_in1": 64},
    layers=(2,),
    transformer_layers=2,
    micro_batches=(4,),
    rates=(0.05, 0.1),
    seeds=(0,),
    steps=2,
    batch_size=8,
    kinds=("vanilla", "gradient_filter"),
    transformer=None,
    pretrained=False,
)


def test_the_study_stops_resumes_and_is_written_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count()
    with pytest.raises(OutOfTime):
        Study(few_images(), TINY, lambda: next(calls) < 2).execute()
    store = RunStore(read_settings().database_url)
    first = {run.id for runs in store.latest_comparisons(9) for run in runs}
    assert len(first) == 4, "two methods at two rates"
    Study(few_images(), TINY, lambda: True).execute()
    every = {run.id for runs in store.latest_comparisons(9) for run in runs}
    # Vanilla, and the gradient filter at two settings.
    assert first < every
    assert len(every - first) == 3
    # Nothing is left to be done.
    monkeypatch.setattr(loop, "fine_tune", lambda *_: pytest.fail("trained again"))
    Study(few_images(), TINY, lambda: True).execute()
    assert main([], tmp_path / "made.md") == 0
    assert "on a machine that also did other work" in (tmp_path / "made.md").read_text()
    timed = ["--time", "1", "--figure", str(tmp_path / "figure.html")]
    assert main(timed, tmp_path / "made.md") == 0
    text = (tmp_path / "made.md").read_text()
    assert "medians of steps of all settings in turns" in text
    assert set(re.findall("`([0-9a-f]{12})`", text)) == every - first
    for budget in ("256", "1", "4", "16", "32"):
        assert re.search(rf"Within {budget}\s[KM]iB ", text)
    assert "micro-batches of 4" in text
    lines = [json.loads(line) for line in (tmp_path / "made.jsonl").read_text().splitlines()]
    assert {line["run"] for line in lines} == every
    for line in lines:
        run = store.run(line["run"])
        assert run is not None
        given = {**line["spec"], "dataset": run.spec.dataset}
        assert RunSpec.model_validate(given) == run.spec
        assert line["spec"]["dataset"] == "imagefolder:PATH"
    assert (tmp_path / "figure.html").stat().st_size > 10**6


def test_without_runs_there_is_nothing_to_write(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    with pytest.raises(Exception, match="the store must have runs of the study"):
        document(Found(read_settings().database_url))


@pytest.fixture
def points(tmp_path: Path) -> list[MemoryPoint]:
    """Vanilla, and ASI at three shares: 87, 82, 86.5 and 86 % on 1000 images."""
    store = RunStore(f"sqlite:///{tmp_path / 'points.sqlite'}")
    specs = [spec(), asi(0.4), asi(0.8), asi(0.9)]
    runs: Any = keep(store, specs, [0.87, 0.82, 0.865, 0.86], [9000, 40, 200, 1000])
    sizes = {o.label: o for o in outcomes_by_seed(runs)}
    return [MemoryPoint(o, int(o.mean("activation_bytes") or 0)) for o in sizes.values()]


def test_winners_fit_and_ties_are_all_of_them(points: list[MemoryPoint]) -> None:
    def labels(budget: int) -> list[str]:
        return [point.outcome.label for point in winners(points, budget).best]

    assert labels(39) == []
    assert winners(points, 39).fastest is None
    assert labels(199) == ["ASI, 40 % variance"]
    assert labels(1000) == ["ASI, 80 % variance", "ASI, 90 % variance"]
    # Half a point on 1000 images is a tie, and the cheapest comes first.
    assert labels(9000) == ["ASI, 80 % variance", "ASI, 90 % variance", "Vanilla"]
    won = winners(points, 9000)
    assert won.fastest in won.best


def test_a_curve_has_what_is_better_than_all_cheaper(points: list[MemoryPoint]) -> None:
    fronts = best_of_each(points)
    assert [p.step_bytes for p in fronts["asi"]] == [40, 200]
    drawn = figure(points, "Title", of_time=False)
    assert {trace.name for trace in drawn.data} == {"ASI", "Vanilla"}
    (line,) = (trace for trace in drawn.data if trace.name == "ASI")
    assert list(line.y) == pytest.approx([82, 86.5])
    assert 2 < line.error_y.array[0] < 3


def test_of_micro_batches_one_counts_and_frozen_weights_never() -> None:
    moments = (Moment("forward", "fc", "mm", 0), Moment("backward", "fc", "mm", 5))
    there = [(Use.BATCH, 64), (Use.TRAINED_WEIGHTS, 10), (Use.FROZEN_WEIGHTS, 1000)]
    lives = [Lifetime(size, use, "before the step", -1, 2) for use, size in there]
    kept = Lifetime(20, Category.TRAINED_INPUTS, "fc", 0, 2)
    timeline = Timeline("measured", "cpu", moments, (*lives, kept))
    assert step_bytes(timeline) == 64 + 10 + 20 + 5
    assert step_bytes(timeline, 8 / 64) == 8 + 10 + 20 + 5
