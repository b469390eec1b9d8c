"""The scripts in `examples/` run as they stand there."""

from __future__ import annotations

import os
import runpy
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
# Each script runs in its own process, forked from one that has imported what takes seconds.
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["torch", "torchvision", "asi_core"])


def run_script(script: Path, folder: Path, said: Path, variables: Mapping[str, str]) -> None:
    """Run a script in a folder, as the main module; what it says is written to a file."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    with said.open("wb") as out:
        # Of this process, and of those that it starts.
        for stream in (1, 2):
            os.dup2(out.fileno(), stream)
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_trains_and_says_what_it_keeps(script: Path, tmp_path: Path) -> None:
    here, said = tmp_path / "here", tmp_path / "said"
    here.mkdir()
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    process = PROCESSES.Process(target=run_script, args=(script, here, said, variables))
    process.start()
    process.join(timeout=300)
    process.kill()
    out = said.read_text()
    assert process.exitcode == 0, out
    (total,) = {line for line in out.splitlines() if line.startswith("kept per step")}
    assert total.endswith("x less")
    assert "loss" in out
    assert list(here.iterdir()) == [], "nothing is left behind"


def test_all_examples_are_listed() -> None:
    listed = (ROOT / "examples" / "README.md").read_text()
    assert all(f"`{script.name}`" in listed for script in SCRIPTS)
