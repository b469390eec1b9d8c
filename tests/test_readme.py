"""The examples and commands of the README work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from asi_core.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("['blocks.15.expand_conv'")
    assert names["plan"].total_bytes <= 100_000  # type: ignore[attr-defined]
    assert names["cost"].activation_bytes > 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "line", [line for line in README.splitlines() if line.strip().startswith("python -m asi_core")]
)
def test_the_commands_run(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = shlex.split(line)[3:]
    quick = {"train": ["--steps", "2", "--batch-size", "8", "--image-size", "32"]}
    small = {"measure": ["--batch-size", "4"], "plan": ["--batch-size", "8"]}
    assert main([*command, *quick.get(command[0], small.get(command[0], []))]) == 0
    assert capsys.readouterr().out
