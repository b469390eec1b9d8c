"""Sweeps on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asi_core.cli import main
from asi_core.runs.store.run_store import RunStore
from asi_core.runs.submit.sweeps import Sweep
from asi_core.settings import read_settings
from tests.command import answer, call
from tests.datasets.pictures import both_splits, write_folder
from tests.runs.kept import asi, keep, spec

SMALL = ("--batch-size", "4", "--image-size", "32", "--layers", "1", "--no-references")


@pytest.fixture
def images(tmp_path: Path) -> str:
    """A data set of ten images, so that runs are fast."""
    return f"imagefolder:{write_folder(tmp_path / 'images', both_splits())}"


def test_a_sweep_runs_to_the_end_and_is_kept_as_one_comparison(
    capsys: pytest.CaptureFixture[str], images: str
) -> None:
    small = ["--dataset", images, "--steps", "2", *SMALL]
    arguments = ["--methods", "vanilla,asi", "--rank", "2", *small]
    assert main(["sweep", *arguments, "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    labels = [outcome["label"] for outcome in found["outcomes"]]
    assert labels == ["Vanilla", "ASI, rank 2"]
    assert [run["status"] for run in found["runs"]] == ["completed", "completed"]
    assert found["run_count"] == 2
    assert found["forecast"] == {
        "seconds": None,
        "runs_by_source": {"here": 0, "elsewhere": 0, "scaled": 0, "unknown": 2},
    }
    kept = RunStore(read_settings().database_url).comparison(found["comparison"])
    assert [run.spec for run in kept] == Sweep.model_validate(found["sweep"]).specs()
    reached = found["runs"][0]["test_accuracy"]
    accuracy = found["outcomes"][0]["accuracy"]
    low, high = accuracy.pop("interval")
    assert low <= reached <= high
    assert accuracy == {"mean": reached, "deviation": None, "seeds": 1}
    assert "2 of 2: ASI, rank 2, seed 0: completed" in captured.err


def test_a_failed_run_is_reported(capsys: pytest.CaptureFixture[str], images: str) -> None:
    small = ["--dataset", images, "--steps", "12", *SMALL]
    recipe = ["--learning-rate", "1e30", "--clip-norm", "1e30"]
    assert main(["sweep", "--methods", "vanilla", *small, *recipe]) == 1
    captured = capsys.readouterr()
    assert "lower the learning rate" in captured.err
    assert "failed" in captured.out


def test_a_dry_run_prints_the_forecast_only() -> None:
    store = RunStore(read_settings().database_url)
    keep(store, [spec(layers=0), spec(), asi(0.8)], [0.8, 0.9, 0.9], [0, 100, 10])
    result = call("sweep", "--explained-variances", "0.4,0.8", "--seeds", "0,1", "--dry-run")
    assert result.code == 0
    assert result.out.startswith("8 runs. About")
    assert "8 like runs measured here" in result.out
    assert len(store.latest_comparisons(5)) == 1


def test_ranks_may_be_given_for_all_modes_and_per_mode() -> None:
    found = answer(
        *("sweep", "--rank", "1,2", "--ranks", "8,8,2,2", "--ranks", "4,4,1,1"),
        *("--layers", "2,all", "--no-references", "--dry-run"),
    )
    assert found["sweep"]["settings"]["ranks"] == [1, 2, [8, 8, 2, 2], [4, 4, 1, 1]]
    assert found["run_count"] == 8


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "needs explained variances or ranks"),
        (["--rank", "0"], "rank must be at least 1, got 0"),
        (["--rank", "4", "--layers", "4,999"], "at most 49"),
        (["--rank", "4", "--methods", "nothing"], "method must be a known one"),
        (["--rank", ",".join(map(str, range(1, 50)))], "1 to 40 runs, got 51"),
    ],
)
def test_wrong_input_is_one_line(arguments: list[str], expected: str) -> None:
    result = call("sweep", *arguments)
    assert result.code == 2
    (line,) = result.err.strip().splitlines()
    assert expected in line
    assert not (read_settings().home / "asi.sqlite").exists()


def test_choices_that_are_numbers_are_swept(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sweep", "--methods", "asi", "--rank", "2", "--bits", "8,32", "--no-references"]
    assert main([*arguments, "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sweep"]["settings"]["bits"] == [8, 32]
    assert found["run_count"] == 2
    assert main([*arguments[:-2], "7", "--dry-run"]) == 2
    assert "should be 32, 16 or 8, got '7'" in capsys.readouterr().err
