"""Fixtures of the fault suite: reference runs, and reporting of outcomes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asi_core.runs.engine.engine import RunEngine
from asi_core.runs.records import RunRecord
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import Settings
from tests.faults.scene import SPECS, all_ended, numbers

Undisturbed = list[list[dict[str, Any]]]


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, features_dir: Path
) -> Iterator[Undisturbed]:
    """The numbers of `SPECS`, executed without faults."""
    before = os.environ.get("ASI_FEATURES_DIR")
    os.environ["ASI_FEATURES_DIR"] = str(features_dir)
    settings = Settings(home=tmp_path_factory.mktemp("undisturbed"))
    engine, store = RunEngine(settings), RunStore(settings.database_url)
    runs = store.create(SPECS, "me")
    for run in runs:
        engine.submit(run.id)
    all_ended(store, runs)
    engine.close()
    if before is None:
        del os.environ["ASI_FEATURES_DIR"]
    yield [numbers(store, run.id) for run in runs]
    store.close()


@pytest.fixture
def as_undisturbed(
    undisturbed: Undisturbed,
) -> Callable[[RunStore, list[RunRecord]], list[RunRecord]]:
    """Checks that runs of `SPECS` are completed, with the same curves as undisturbed ones."""

    def check(store: RunStore, runs: list[RunRecord]) -> list[RunRecord]:
        done = all_ended(store, runs)
        assert [(run.status, run.error) for run in done] == [("completed", None)] * len(runs)
        for run, expected in zip(done, undisturbed, strict=True):
            found = numbers(store, run.id)
            assert len(found) == len(expected), "rows were lost or doubled"
            assert found == expected
        return done

    return check


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str, str, str], None]:
    """Records a row of the table in docs/reliability.md (`tests.faults.report`)."""

    def note(fault: str, store: str, outcome: str) -> None:
        if path := os.environ.get("FAULT_ROWS_FILE"):
            with Path(path).open("a") as file:
                commit = os.environ["FAULT_COMMIT"]
                file.write(json.dumps([fault, store, outcome, commit]) + "\n")

    return note


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests, which take minutes: `make faults` runs them, the usual suite does not."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)
