"""The scripts in `examples/` run as they stand there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_trains_and_says_what_it_keeps(script: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    here = tmp_path / "here"
    here.mkdir()
    ended = subprocess.run(
        [sys.executable, str(script)],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    (total,) = {line for line in ended.stdout.splitlines() if line.startswith("kept per step")}
    assert total.endswith("x less")
    assert "loss" in ended.stdout
    assert list(here.iterdir()) == [], "nothing is left behind"


def test_all_examples_are_listed() -> None:
    listed = (ROOT / "examples" / "README.md").read_text()
    assert all(f"`{script.name}`" in listed for script in SCRIPTS)
