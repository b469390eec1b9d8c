"""The command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from asi_core.methods import METHOD_ADAPTER
from asi_core.runs.store.run_store import RunStore
from asi_core.settings import read_settings
from asi_core.training.formula_memory import formula_need
from asi_core.training.spec import RunSpec
from asi_core.units import DASH
from asi_core.zoo.cards import MODELS
from tests.command import answer, call, call_process, parsed
from tests.datasets.few import few_images
from tests.datasets.pictures import encoded, noise, write_folder

SMALL = ["--steps", "2", "--batch-size", "16", "--image-size", "32", "--layers", "2"]


def test_train_reports_and_keeps_the_run() -> None:
    result = answer("train", "--method", "asi", "--explained-variance", "0.8", *SMALL)
    assert result["status"] == "completed"
    assert 0 <= result["test_accuracy"] <= 1
    assert result["measured_saved_bytes"] > result["activation_bytes"] > 0
    assert set(result["seconds"]) >= {"step_median", "forward_median", "backward_median", "total"}
    assert [row["kind"] for row in result["history"]].count("step") == 2
    kept = RunStore(read_settings().database_url).run(result["run_id"])
    assert kept is not None
    assert kept.spec.model_dump(mode="json") == result["spec"]


def test_the_same_command_gives_the_same_accuracy() -> None:
    words = ("train", "--method", "asi", "--rank", "4", *SMALL)
    first, second = parsed(call_process(*words, "--json")), answer(*words)
    assert first["test_accuracy"] == second["test_accuracy"]
    losses = [[row["loss"] for row in r["history"] if "loss" in row] for r in (first, second)]
    assert losses[0] == losses[1]


def test_a_completed_run_is_lengthened() -> None:
    recipe = ("--optimizer", "adamw", "--schedule", "constant", "--dataset", few_images())
    method = ("--method", "asi", "--rank", "4", *recipe)
    old = answer("train", *method, *SMALL)
    found = answer("lengthen", old["run_id"], "--steps", "4")
    (longer,) = found["runs"]
    every = ("--evaluate-every", "1", "--probe-every", "1")
    expected = answer("train", *method, *SMALL, "--steps", "4", *every)
    # An equal run would be copied; that of another process is as equal.
    assert expected["run_id"] == longer["run_id"]
    losses = [row["loss"] for row in longer["history"] if row["kind"] == "step"]
    assert losses[:2] == [row["loss"] for row in old["history"] if row["kind"] == "step"]
    assert len(losses) == 4
    printed = call("lengthen", found["comparison"], "--steps", "5")
    assert printed.code == 0
    assert "completed" in printed.out
    for words, expected_error in (
        (("lengthen", old["run_id"], "--steps", "2"), "more than the 2 steps that are done, got 2"),
        (("lengthen", "nothing", "--steps", "4"), "RUN must be the id of a run or of a comparison"),
    ):
        refused = call(*words)
        assert refused.code == 2
        assert expected_error in refused.err
        assert len(refused.err.strip().splitlines()) == 1


def test_a_plan_in_8_bits_has_less_error_under_the_same_budget() -> None:
    size = ("--batch-size", "8", "--image-size", "32", "--layers", "2", "--budget-mib", "0.008")
    usual, rounded = answer("plan", *size), answer("plan", *size, "--bits", "8")
    for made in (usual, rounded):
        assert 0 < made["total_bytes"] <= made["budget_bytes"] == int(0.008 * 2**20)
    assert rounded["gradient_error"] < usual["gradient_error"]


@pytest.mark.parametrize("convention", ["paper", "exact"])
def test_estimate_lists_every_layer(convention: str) -> None:
    result = answer(
        "estimate", "--method", "asi", "--ranks", "16,32,4,4", "--convention", convention
    )
    assert len(result["layers"]) == 4
    assert sum(x["activation_bytes"] for x in result["layers"]) == result["activation_bytes"]
    assert sum(x["macs"]["total"] for x in result["layers"]) == result["macs"]["total"]
    assert result["layers"][0]["ranks"] == [16, 32, 3, 3]


def test_estimate_compares_several_methods() -> None:
    methods = ("--method", "vanilla,asi,lora", "--ranks", "16,32,4,4", "--layers", "2")
    found = answer("estimate", *methods)["methods"]
    assert [one["method"]["kind"] for one in found] == ["vanilla", "asi", "lora"]
    for one in found:
        spec = RunSpec(method=METHOD_ADAPTER.validate_python(one["method"]), layers=2)
        assert one.pop("needed_bytes") == formula_need(spec).total(frozen_in_flash=True)
        numbers = (one.pop("trained_numbers"), one.pop("gradient_bytes"))
        settings = ("--ranks", "16,32,4,4") if one["method"]["kind"] == "asi" else ()
        alone = answer("estimate", "--method", one["method"]["kind"], *settings, "--layers", "2")
        assert one == alone, "the same answer as alone"
        assert numbers[1] == 4 * numbers[0]
    table = call("estimate", *methods).out.splitlines()
    rows = [line for line in table if line.startswith(("Vanilla", "ASI, rank", "LoRA, adapter"))]
    assert len(rows) == 3
    assert {len(row) for row in rows} == {len(table[1])}, "columns under their headings"


def test_what_cannot_be_trained_has_no_need_and_is_compared() -> None:
    """There are fewer images than these."""
    methods = ("--method", "vanilla,asi", "--rank", "4", "--layers", "1", "--batch-size", "20000")
    assert [one["needed_bytes"] for one in answer("estimate", *methods)["methods"]] == [None, None]
    rows = [line.split() for line in call("estimate", *methods).out.splitlines()[2:4]]
    assert all(DASH in row for row in rows)


def test_several_methods_refuse_what_none_of_them_has() -> None:
    result = call("estimate", "--method", "vanilla,lora", "--patch", "2")
    assert result.code == 2
    assert "vanilla and lora have no such setting, got patch" in result.err
    unknown = call("estimate", "--method", "vanilla,nothing")
    assert (unknown.code, len(unknown.err.splitlines())) == (2, 1)
    assert "got 'nothing'" in unknown.err


def test_estimate_of_layers_by_name() -> None:
    layers = "blocks.14.* conv_head"
    result = answer("estimate", "--method", "vanilla", "--layers", layers)
    assert {layer["name"].rpartition(".")[0] for layer in result["layers"]} == {"blocks.14", ""}
    wrong = call("estimate", "--method", "vanilla", "--layers", "blocks.99.*")
    assert wrong.code == 2
    assert "layers must be layers of the model, got 'blocks.99.*'" in wrong.err


def test_without_json_the_output_is_readable() -> None:
    result = call("estimate", "--method", "vanilla")
    assert "total (exact)" in result.out
    assert "MiB" in result.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--method", "asi", "--rank", "0"], "rank must be at least 1, got 0"),
        (["--method", "hosvd", "--explained-variance", "1.5"], "got 1.5"),
        (["--method", "asi", "--rank", "4", "--layers", "999"], "at most 49"),
        (["--method", "asi", "--rank", "4", "--layers", "some"], "layers must be layers of the"),
        (["--method", "asi", "--ranks", "4,x"], "--ranks"),
        (["--method", "asi", "--rank", "4", "--ranks", "4,4,4,4"], "given once"),
        (["--method", "vanilla", "--patch", "2"], "vanilla has no such setting, got patch"),
        (["--method", "nothing"], "method must be a known one"),
        (["--method", "vanilla", "--model", "nothing"], "model must be one of the zoo"),
        (["--method", "vanilla", "--batch-size", "10000000"], "batch size must be at most 5000"),
        (["--method", "vanilla", "--dataset", "nothing"], "dataset must be a known one"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_no_run(arguments: list[str], expected: str) -> None:
    result = call("train", *arguments)
    lines = [line for line in result.err.splitlines() if line.strip()]
    assert result.code == 2
    assert len(lines) == 1
    assert expected in lines[0]
    assert not (read_settings().home / "asi.sqlite").exists()


def test_damaged_images_are_refused_at_once_or_left_out_and_counted(tmp_path: Path) -> None:
    contents = {f"cat/{n}.png": encoded(noise(32, 32, n)) for n in range(15)}
    contents |= {f"dog/{n}.png": encoded(noise(32, 32, 20 + n)) for n in range(5)}
    contents |= {name: contents[name][:200] for name in ("cat/3.png", "dog/1.png")}
    place = f"imagefolder:{write_folder(tmp_path / 'photos', contents)}"
    head = ("train", "--method", "vanilla", "--dataset", place, "--image-size", "32")
    arguments = (*head, "--layers", "0", "--steps", "2", "--batch-size", "4")
    refused = call(*arguments)
    assert refused.code == 2
    assert "2 of 20 images" in refused.err
    assert "'cat/3.png' (damaged), 'dog/1.png' (damaged)" in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    assert not (read_settings().home / "asi.sqlite").exists()
    result = answer(*arguments, "--skip-damaged")
    assert result["images"]["left_out"] == 2
    assert result["images"]["train"] + result["images"]["test"] == 18
    assert result["spec"]["skip_damaged"] is True
    last = [row for row in result["history"] if row["kind"] == "evaluation"][-1]
    assert result["balanced_accuracy"] == last["balanced_accuracy"]
    assert (result["balanced_accuracy"] is not None) == result["images"]["is_unbalanced"]


def test_unreadable_weights_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / MODELS["efficientnet_lite0"].weights.name).write_bytes(b"damaged")
    monkeypatch.setenv("ASI_WEIGHTS_DIR", str(tmp_path))
    result = call("train", "--method", "vanilla", *SMALL)
    assert result.code == 2
    assert "does not hold the weights" in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_estimate_refuses_ranks_that_need_data() -> None:
    result = call("estimate", "--method", "asi", "--explained-variance", "0.8")
    assert result.code == 2
    assert "depend on the data" in result.err
