"""The study of factor updates, written from the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from asi_core.runs.store.library import Description, RunLibrary
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.units import format_bytes
from studies.updates.report import document, found_runs, main
from studies.updates.run import ROWS, Case, cases
from tests.runs.kept import keep

CASE = cases("cifar10")[1]
BETWEEN = {"as published": 0.80, "every step": 0.81, "one step late": 0.80, "when needed": 0.813}


@pytest.fixture
def store(home: Path) -> RunStore:
    home.mkdir(parents=True, exist_ok=True)
    return RunStore(read_settings().database_url)


def kept(store: RunStore, case: Case, seed: int, reached: Mapping[str, float]) -> list[str]:
    """A comparison of 200 steps; ids of its runs."""
    specs = case.specs(200, seed)
    accuracies = [reached.get(row, 0.5) for row in specs]
    runs = keep(store, list(specs.values()), accuracies, [100] * len(specs))
    library = RunLibrary(store.url)
    library.describe(runs[0].comparison, Description(case.name(200, seed)))
    library.close()
    return [run.id for run in runs]


def test_the_rows_are_those_of_a_comparison() -> None:
    assert tuple(CASE.specs(200, 0)) == ROWS


def test_differences_are_of_runs_with_the_same_seed(store: RunStore, tmp_path: Path) -> None:
    earlier = kept(store, CASE, 0, {"when needed": 0.1})
    ids = kept(store, CASE, 0, BETWEEN)
    ids += kept(store, CASE, 1, {row: reached + 0.02 for row, reached in BETWEEN.items()})
    assert main([], tmp_path / "made.md") == 0
    text = (tmp_path / "made.md").read_text()
    assert all(f"`{run}`" in text for run in ids)
    # Of two comparisons with one name the newer counts.
    assert not any(run in text for run in earlier)
    assert f"| when needed | 82.30 ± 1.41 | +0.30 ± 0.00 | {format_bytes(100)} |" in text
    assert "**when needed**: +0.30 points in the mean" in text
    late = "**one step late**: -1.00 points in the mean of all networks and lengths (more than"
    assert late in text


def test_without_runs_there_is_nothing_to_write(store: RunStore) -> None:
    with pytest.raises(Exception, match="the store must have runs of the study"):
        document(found_runs(store.url))
