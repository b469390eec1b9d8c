"""Benchmarks report what happened; these tests do not depend on speed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from asi_core.bench import end_to_end, kernels, memory, report, timing
from asi_core.bench.end_to_end import CaseTimes, arithmetic_limit
from asi_core.bench.tails import WAYS, Case, Tail
from asi_core.bench.timing import Timing, alternating
from asi_core.cli import main
from asi_core.costs.measurement import measure_step
from asi_core.zoo.shapes import trained_layer_shapes

CPU = torch.device("cpu")
SMALL = Case("mcunet_in1", 2, batch_size=16, image_size=64)


def test_ways_alternate_and_the_first_round_is_not_reported() -> None:
    order: list[str] = []
    ways = {name: lambda name=name: order.append(name) for name in "abc"}
    times = alternating(ways, 0.0, CPU)
    assert "".join(order) == "abc" + "abc" + "cba" + "abc"
    assert all(timing.rounds == 3 for timing in times.values())


def test_long_rounds_are_fewer_and_short_ones_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(float(second) for second in range(10_000))
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: next(clock)))

    def rounds(ways: int, seconds: float) -> int:
        found = alternating(dict.fromkeys(map(str, range(ways)), lambda: None), seconds, CPU)
        return found["0"].rounds

    assert rounds(ways=1, seconds=0.0) == 3
    assert rounds(ways=10, seconds=0.0) == 2
    assert 3 < rounds(ways=1, seconds=15.0) < 8
    assert rounds(ways=1, seconds=1e6) == 15


def test_a_separate_settling_function_is_called() -> None:
    order: list[str] = []
    ways = {name: lambda name=name: order.append(name) for name in "ab"}
    alternating(ways, 0.0, CPU, {name: lambda: order.append("-") for name in "ab"})
    assert "".join(order) == "--" + "ab" + "ba" + "ab"


def test_seconds_are_those_that_passed() -> None:
    times = alternating({"slow": lambda: time.sleep(0.02), "fast": lambda: None}, 0.0, CPU)
    assert times["slow"].median >= 0.02
    assert times["slow"].low <= times["slow"].median <= times["slow"].high
    assert times["fast"].median < 0.02


@pytest.mark.parametrize("way", list(WAYS))
def test_every_way_makes_the_same_step(way: str) -> None:
    """The loss equals vanilla's: every forward pass is exact."""
    found = Tail(SMALL, WAYS[way], CPU).loss_and_gradients()
    vanilla = Tail(SMALL, WAYS["vanilla_nchw"], CPU).loss_and_gradients()
    torch.testing.assert_close(found[0], vanilla[0], rtol=1e-5, atol=1e-6)
    assert [g.shape for g in found] == [g.shape for g in vanilla]


def test_tails_have_the_shapes_of_the_zoo() -> None:
    tail = Tail(SMALL, WAYS["asi"], CPU)
    expected = trained_layer_shapes("mcunet_in1", 2, SMALL.batch_size, SMALL.image_size)
    assert tail.shapes == expected
    assert arithmetic_limit(tail.shapes) > 1


def test_steps_are_timed_and_taken_apart() -> None:
    (found,) = end_to_end.run([SMALL], 0.0, CPU, ["vanilla_nchw", "asi", "checkpointing"])
    message = json.loads(json.dumps(found.as_dict()))
    assert set(message["seconds"]) == {"vanilla_nchw", "asi", "checkpointing"}
    assert set(message["parts"]["asi"]) == {"compression", "weight_gradients", "rest"}
    assert all(seconds > 0 for seconds in message["parts"]["asi"].values())
    assert message["layouts"]["vanilla_nchw"] == "contiguous_format"
    assert found.ratio("vanilla_nchw", "vanilla_nchw") == 1


def test_layers_are_timed_once_each() -> None:
    found = list(kernels.run([SMALL, SMALL], 0.0, CPU))
    assert [layer.shape.name for layer in found] == [
        s.name for s in Tail(SMALL, WAYS["asi"], CPU).shapes
    ]
    message = found[0].as_dict()
    assert {"asi", "hosvd_gram", "hosvd_svd"} <= set(message["compress_seconds"])
    assert set(message["weight_gradient_seconds"]) == {"vanilla", "asi"}


def test_bytes_are_formulas_bytes_and_lean_layers_lose_nothing() -> None:
    (found,) = memory.run([SMALL], CPU)
    assert found.lossless
    assert (
        found.saved_bytes["asi_half"] < found.saved_bytes["asi"] < found.saved_bytes["vanilla_lean"]
    )
    assert found.saved_bytes["vanilla_lean"] < found.saved_bytes["vanilla_nchw"]
    assert found.formula_bytes["asi"] < found.saved_bytes["asi"]
    assert found.ratio("asi") == found.saved_bytes["vanilla_nchw"] / found.saved_bytes["asi"]


@pytest.mark.parametrize("way", memory._MEASURED)
def test_bytes_of_a_first_forward_pass_are_those_of_a_warm_step(way: str) -> None:
    tail = Tail(SMALL, WAYS[way], CPU)
    kept = tail.kept_bytes()
    names = [shape.name for shape in tail.shapes]
    inputs = tail._inputs
    warm = measure_step(
        tail._module, lambda: tuple(x.clone() for x in inputs), tail._loss, names, "classifier"
    )
    assert kept == warm.saved_bytes
    by_formula = tail.formula_bytes()
    assert sum(layer.saved_bytes for layer in warm.layers) == by_formula


def times(seconds: dict[str, float], batch: int) -> CaseTimes:
    timings = {name: Timing(value, value, value, 3) for name, value in seconds.items()}
    return CaseTimes(Case("resnet18", 2, batch), timings, {}, 1.5, {})


def test_the_summary_is_a_geometric_mean_and_the_worst_case() -> None:
    found = report._step_summary(
        [
            times({"vanilla_nchw": 2.0, "vanilla_nhwc": 1.0, "asi": 1.0}, 64),
            times({"vanilla_nchw": 8.0, "vanilla_nhwc": 1.0, "asi": 1.0}, 64),
        ]
    )
    assert found["steps"]["batch_64_vanilla_nchw_over_asi"] == {"geometric_mean": 4.0, "least": 2.0}
    assert "batch_256_vanilla_nchw_over_asi" not in found["steps"]


def test_the_command_prints_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "cases", lambda: [SMALL])
    assert main(["bench", "--only", "memory", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["memory"][0]["model"] == "mcunet_in1"
    assert found["summary"]["lossless"] is True
    assert found["environment"]["threads"] >= 1
    assert main(["bench", "--only", "memory"]) == 0
    assert "lossless: true" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "0"], "minutes must be a positive number"),
        (["--minutes", "nan"], "minutes must be a positive number"),
        (["--only", "cpu"], "memory, kernels, end_to_end"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_the_document_is_what_the_script_makes_of_the_figures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from scripts import make_performance

    monkeypatch.setattr(make_performance, "TARGET", tmp_path / "performance.md")
    make_performance.main()
    written = (tmp_path / "performance.md").read_text()
    assert written == (make_performance.ROOT / "docs" / "performance.md").read_text()
