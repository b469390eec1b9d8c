"""The examples and commands of the README work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from asi_core.cli import main
from asi_core.costs.measurement import SavedBytes

README = (Path(__file__).parents[1] / "README.md").read_text()


EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run_example(number: int) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(EXAMPLES[number], "README.md", "exec"), names)
    return names


def test_the_first_example_saves_what_the_text_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(EXAMPLES[0].splitlines()) <= 15
    names = run_example(0)
    printed = capsys.readouterr().out
    (total,) = (line for line in printed.splitlines() if line.startswith("kept per step"))
    ratio = float(total.split()[-2].removesuffix("x"))
    assert ratio >= 40
    assert f"{ratio:.0f} times less here" in " ".join(README.split())
    # By PyTorch's own hooks, with other images: 26.3 MiB for the plain network.
    model = names["model"]
    with SavedBytes(model) as saved:
        _output = model(torch.randn(32, 3, 224, 224))
    assert saved.total <= 26.3 * 2**20 / 40


def test_the_second_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names = run_example(1)
    assert names["plan"].total_bytes <= 100_000
    assert names["cost"].activation_bytes > 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    "line", [line for line in README.splitlines() if line.strip().startswith("python -m asi_core")]
)
def test_the_commands_run(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = shlex.split(line)[3:]
    quick = {"train": ["--steps", "2", "--batch-size", "8", "--image-size", "32"]}
    small = {"measure": ["--batch-size", "4"], "plan": ["--batch-size", "8"]}
    assert main([*command, *quick.get(command[0], small.get(command[0], []))]) == 0
    assert capsys.readouterr().out
