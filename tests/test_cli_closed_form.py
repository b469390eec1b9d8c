"""Commands with a method without closed form: measurements are shown, and no formula."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asi_core.cli import main

pytestmark = pytest.mark.usefixtures("plugins")
STEP = ["--batch-size", "4", "--image-size", "32", "--layers", "2"]


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main([*arguments, *STEP]) == 0
    return capsys.readouterr().out.splitlines()


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    (line,) = lines(capsys, *arguments, "--json")
    return dict(json.loads(line))


def test_training_measures_and_shows_no_number_by_formula(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("train", "--method", "nonzero", "--steps", "2")
    printed = lines(capsys, *arguments)
    assert "activation memory  no closed form" in printed
    (saved,) = (line for line in printed if line.startswith("saved for backward"))
    assert saved.endswith("KiB measured")
    result = found(capsys, *arguments)
    assert result["activation_bytes"] is None
    assert result["macs"] == dict.fromkeys(("forward", "overhead", "backward", "total"))
    assert isinstance(result["measured_saved_bytes"], int)
    assert result["status"] == "completed"
    steps = [event for event in result["history"] if event["kind"] == "step"]
    assert [event["forward_macs"] for event in steps] == [None, None]


def test_a_step_is_measured_without_a_formula(capsys: pytest.CaptureFixture[str]) -> None:
    printed = lines(capsys, "measure", "--method", "nonzero")
    layers = [line for line in printed if "measured" in line]
    assert len(layers) == 2
    assert all("formula no closed form, measured " in line for line in layers)
    (row,) = (line for line in printed if line.startswith("by formula"))
    assert row.endswith("no closed form")
    result = found(capsys, "measure", "--method", "nonzero")
    assert result["formula_bytes"] is None
    assert "None" not in "\n".join(printed)


def test_a_sweep_prints_the_accuracy_anyway(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("sweep", "--methods", "nonzero,thinned", "--every", "2", "--steps", "1")
    _, *runs = lines(capsys, *arguments, "--no-references")
    nonzero, thinned = sorted(runs)
    assert nonzero.startswith("Non-zero input")
    assert nonzero.endswith("(n = 1), no closed form")
    assert thinned.endswith("by formula")


def test_an_estimate_is_refused_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--method", "nonzero", *STEP]) == 2
    captured = capsys.readouterr()
    assert captured.err == "Non-zero input has no closed form: measure it.\n"
    assert captured.out == ""
