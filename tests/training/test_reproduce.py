"""A specification is unchanged by the shell, Python and JSON."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from asi_core.cli import main, parse
from asi_core.cli.train import requested_spec
from asi_core.methods import Vanilla
from asi_core.training.reproduce import as_command, as_json, as_python, in_words, step_in_words
from asi_core.training.spec import RunSpec

SPECS: list[dict[str, Any]] = [
    {"method": {"kind": "vanilla"}},
    {"method": {"kind": "asi", "ranks": 4}, "layers": "all"},
    {"method": {"kind": "asi", "ranks": [8, 16, 2, 2]}, "seed": 7, "pretrained": False},
    {"method": {"kind": "asi", "explained_variance": 0.75, "sequential": False}},
    {"method": {"kind": "asi", "budget_bytes": 123_457}, "train_norm": True},
    {"method": {"kind": "hosvd", "explained_variance": 0.9, "solver": "svd"}, "lean": True},
    {"method": {"kind": "hosvd", "explained_variance": 0.9}, "momentum": 0.9, "steps": 12},
    {"method": {"kind": "asi", "ranks": 4, "refresh_every": 4, "bits": 16}},
    {"method": {"kind": "eight_bit"}, "lean": False},
    {"method": {"kind": "checkpointing"}},
    {"method": {"kind": "sparse", "weight_budget_bytes": 123_457}, "layers": "all"},
    {"method": {"kind": "vanilla"}, "layers": "blocks.1[45].* conv_stem"},
    {"method": {"kind": "gradient_filter", "patch": 3}, "layers": 2, "evaluate_every": 5},
    {"method": {"kind": "vanilla"}, "dataset": "imagefolder:/a folder/it's.zip", "layers": 0},
]


@pytest.mark.parametrize("fields", SPECS, ids=str)
def test_each_form_gives_the_same_run(fields: dict[str, Any]) -> None:
    spec = RunSpec.model_validate(fields)
    assert RunSpec.model_validate_json(as_json(spec)) == spec
    words = shlex.split(as_command(spec))
    assert words[:3] == ["python", "-m", "asi_core"]
    assert requested_spec(parse(words[3:])) == spec
    code = as_python(spec).replace("for event in fine_tune(spec):\n    print(event)\n", "")
    scope: dict[str, Any] = {}
    exec(code, scope)
    assert scope["spec"] == spec


def test_defaults_are_left_out_of_the_command() -> None:
    spec = RunSpec.model_validate({"method": {"kind": "gradient_filter"}})
    assert as_command(spec) == "python -m asi_core train --method gradient_filter"


@pytest.mark.parametrize("text", ["nowhere.json", "{}", '{"method": {"kind": "vanilla"}, "x": 1}'])
def test_what_is_no_specification_is_one_line(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--spec", text]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert message.strip()


def test_a_specification_is_read_from_a_file(tmp_path: Path) -> None:
    spec = RunSpec.model_validate(SPECS[1])
    (tmp_path / "run.json").write_text(as_json(spec))
    assert requested_spec(parse(["train", "--spec", str(tmp_path / "run.json")])) == spec


def test_a_run_in_words_says_what_changes_its_step() -> None:
    spec = RunSpec(method=Vanilla(), layers=2)
    assert in_words(spec) == "Vanilla, on the last 2 layers, batches of 64, 96 px"
    divided = spec.model_copy(update={"micro_batch": 8, "apply_early": True})
    assert step_in_words(divided) == ("Vanilla, micro-batches of 8, gradients applied as they come")
