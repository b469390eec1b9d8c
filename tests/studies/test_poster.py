"""docs/results.md matches the shipped runs, and names them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from asi_core.runs.store.job_store import JobStore
from asi_core.runs.store.run_store import RunStore
from studies.poster.report import TARGET, document
from studies.poster.study import Study

COMPARISONS = {"c": "curves-{}", "s": "settings-{}", "m": "small", "d": "drift"}


@pytest.fixture
def study(tmp_path: Path, store_of_examples: Path) -> Study:
    url = f"sqlite:///{shutil.copy(store_of_examples, tmp_path)}"
    return Study(RunStore(url), JobStore(url))


def test_the_document_is_up_to_date_and_every_named_run_exists(study: Study) -> None:
    text = document(study)
    assert TARGET.read_text() == text, "run python -m studies.poster.report"
    named = re.findall(r"[(|] ?([csmd]) ((?:\d+, )*\d+)(?=[ )])", text)
    assert len(named) > 30
    for letter, places in named:
        for seed in range(3):
            comparison = f"example-poster-{COMPARISONS[letter].format(seed)}"
            for place in places.split(", "):
                assert study.store.run(f"{comparison}-{place}") is not None, (letter, place)
