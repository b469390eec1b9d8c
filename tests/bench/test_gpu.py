"""`make gpu`, tried on the processor in small parts, and its table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from asi_core.methods import ASI, GradientFilter, Vanilla
from asi_core.settings import PROJECT
from asi_core.testing import Arithmetic
from asi_core.training.features import FeaturePool
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import parts, running
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.report import report

CPU = torch.device("cpu")


class Halved(GradientFilter):
    """Claims to be exact, and is not."""

    def is_exact(self, shape: Any) -> bool:
        return True


def test_all_parts_together_take_less_than_eight_minutes() -> None:
    assert sum(part.seconds for part in PARTS.values()) <= 470


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_method_that_keeps_the_contract_has_no_failures(dtype: torch.dtype) -> None:
    row = parts.contract_of(Vanilla, Arithmetic(CPU, dtype))
    assert row["failures"] == []
    assert row["checks"] > 0


def test_one_that_breaks_it_is_named_with_the_check() -> None:
    row = parts.contract_of(Halved, Arithmetic(CPU, torch.float32))
    assert any("exact gradients are vanillas" in failure for failure in row["failures"])
    assert row["gradient_error"] > row["tolerance"]


def test_a_precision_that_pytorch_lacks_is_left_out_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("not implemented for Half")

    monkeypatch.setattr(torch.nn.Conv2d, "forward", refuse)
    (row,) = parts.contract(CPU, torch.float16)
    assert "float16" in row["skipped"]
    assert "not implemented for Half" in row["skipped"]


def test_memory_and_resumed_runs_agree(tmp_path: Path) -> None:
    pool, method = FeaturePool(2**28), ASI(ranks=2)
    spec = parts._small_run(method)
    row = parts.memory_of(spec, pool)
    assert row["failures"] == []
    assert row["kept_bytes"] == row["formula_kept_bytes"] > 0
    again = parts._resumed(spec, pool, CPU, tmp_path / "state.safetensors")
    assert (again["failures"], again["difference"]) == ([], 0)


def test_a_part_that_dies_is_a_failure_beside_what_it_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [{"environment": {"torch": "2"}}, {"method": "ASI", "difference": 0.0, "failures": []}]
    printed = "\n".join(["a warning", *map(json.dumps, rows)])
    monkeypatch.setattr(running, "_run", lambda *_: (printed, "exit status -6: an illegal access"))
    assert command.main(["--device", "cpu", "--out", str(tmp_path), "--only", "resume"]) == 1
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert not found["passed"]
    assert found["environment"] == {"torch": "2"}
    assert found["parts"]["resume"]["rows"] == rows[1:]
    table = (tmp_path / "gpu.md").read_text()
    assert "exit status -6: an illegal access" in table
    assert "| ASI | 0 |" in table


def test_a_device_that_is_not_here_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # PyTorch knows this one everywhere, and computes on it nowhere.
    assert command.main(["--device", "meta", "--out", str(tmp_path / "gpu")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "cannot compute on the device 'meta' here" in said
    assert "or the device cpu" in said
    assert not (tmp_path / "gpu").exists()


def test_what_is_left_out_is_said() -> None:
    skipped = {"title": "Contract", "result": "passed", "error": None, "seconds": 1.0}
    found = {
        "device": "cpu",
        "environment": {},
        "seconds": 1.0,
        "passed": True,
        "left_out": ["Half"],
        "parts": {"float16": {**skipped, "rows": [{"skipped": "why"}]}},
    }
    assert "### Left out\n\n- Half.\n- why.\n" in report(found)


def test_its_files_are_ignored_by_git() -> None:
    assert "/gpu/" in (PROJECT / ".gitignore").read_text().splitlines()
