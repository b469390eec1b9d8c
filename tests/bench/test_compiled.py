"""The benchmark of `torch.compile`, tried with its tracer alone: no compiler is needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from asi_core.bench.tails import WAYS, Case, Tail
from benchmarks import compiled

CASE = Case("mcunet_in1", 1, 2, image_size=32)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tails that are traced as for the compiler, and run as they are."""

    def compile_(tail: Tail) -> None:
        tail._module.compile(backend="eager", dynamic=False)

    monkeypatch.setattr(Tail, "compile_", compile_)
    monkeypatch.setattr(
        compiled, "COMPARED", {name: WAYS[name] for name in ("vanilla_nchw", "asi")}
    )
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("traced")
def test_a_row_has_both_steps_and_what_was_paid_first(tmp_path: Path) -> None:
    (row,) = compiled.compared([CASE], seconds=0.1, cache=tmp_path)
    assert row == json.loads(json.dumps(row))
    assert set(row["seconds"]) == {
        *("vanilla_nchw", "vanilla_nchw_compiled"),
        *("asi", "asi_compiled"),
    }
    assert all(difference < 1e-4 for difference in row["gradient_difference"].values())
    head, *lines = compiled._lines(row)
    assert head.startswith("mcunet_in1, last 1, batch 2")
    assert [line.split()[0] for line in lines] == ["vanilla_nchw", "asi"]
    # A second call finds compiled code, and says what the first one took.
    torch._dynamo.reset()
    (again,) = compiled.compared([CASE], seconds=0.1, cache=tmp_path)
    assert again["compile_seconds"] == row["compile_seconds"]
