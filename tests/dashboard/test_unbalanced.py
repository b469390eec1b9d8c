"""Compare shows balanced accuracies and left-out images if there are any."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from asi_core.results.outcomes import outcomes_by_seed
from asi_core.results.verdict import judge
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from dashboard.compare.answer import kpis
from dashboard.compare.controls import View
from dashboard.compare.picture import facts
from dashboard.compare.runs_table import table_rows
from tests.runs.kept import asi, keep, spec

RARE = {"balanced accuracy", "damaged images left out"}


def view(**more: Any) -> View:
    store = RunStore(read_settings().database_url)
    runs = keep(store, [spec(), asi(0.8), asi(0.8, seed=1)], [0.9, 0.8, 0.8], [100, 10, 10])
    message = [store.run(run.id) for run in runs]
    runs = [replace(run, summary={**(run.summary or {}), **more}) for run in message if run]
    return View("a task", runs, outcomes_by_seed(runs), 0.01, {runs[0].comparison: "mine"})


def test_elsewhere_there_is_no_word_of_them() -> None:
    shown = view()
    assert not RARE & set(table_rows(shown).columns)
    assert not any("balanced" in name for name in facts(shown.outcomes[0], None))
    assert "Balanced" not in kpis(judge(shown.outcomes, 0.01))[0].help


def test_they_stand_beside_the_plain_accuracy() -> None:
    shown = view(balanced_accuracy=0.625, images={"left_out": 4})
    rows = table_rows(shown)
    assert rows["balanced accuracy"].tolist() == [pytest.approx(0.625)] * 2
    assert rows["damaged images left out"].tolist() == [4, 4]
    assert facts(shown.outcomes[0], None)["balanced accuracy (measured)"].startswith("62.5")
    assert "62.5" in kpis(judge(shown.outcomes, 0.01))[0].help
