from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from asi_core.errors import one_sentence
from asi_core.training.spec import RunSpec

VANILLA = {"kind": "vanilla"}
SIZE = {"image_size": 224}


def test_a_spec_survives_json() -> None:
    spec = RunSpec(method={"kind": "asi", "ranks": [16, 32, 4, 4]}, layers="all", seed=3)  # type: ignore[arg-type]
    assert RunSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (" blocks.1[45].*   conv_stem ", "blocks.1[45].* conv_stem"),
        (["blocks.1[45].*", "conv_stem"], "blocks.1[45].* conv_stem"),
        ("4", 4),
        ("all", "all"),
    ],
)
def test_layers_are_chosen_by_number_name_and_pattern(given: Any, kept: Any) -> None:
    spec = RunSpec.model_validate({"method": VANILLA, "layers": given})
    assert spec.layers == kept
    assert RunSpec.model_validate_json(spec.model_dump_json()) == spec


def test_ranks_are_checked_against_the_chosen_layers() -> None:
    asi = {"kind": "asi", "ranks": [4, 4, 4]}
    RunSpec.model_validate({"model": "vit_b_32", "layers": "*.mlp.0", "method": asi, **SIZE})
    wrong = {"model": "vit_b_32", "layers": "*.mlp.0", "method": {**asi, "ranks": [4, 4]}, **SIZE}
    with pytest.raises(ValidationError, match="one per mode of ViT-B/32"):
        RunSpec.model_validate(wrong)


def test_the_recipe_is_the_authors() -> None:
    spec = RunSpec(method=VANILLA)  # type: ignore[arg-type]
    assert (spec.learning_rate, spec.momentum, spec.weight_decay) == (0.05, 0.0, 1e-4)
    assert (spec.final_rate, spec.clip_norm, spec.train_norm) == (0.1, 2.0, False)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"model": "nothing"}, "FILE.py:FUNCTION, got 'nothing'"),
        ({"dataset": "nothing"}, "dataset must be a known one"),
        ({"layers": 50}, "at most 49"),
        ({"layers": -1}, "at least 0, got -1"),
        ({"layers": "some"}, "layers must be layers of the model, got 'some': for example blocks."),
        ({"layers": "blocks.15"}, "write blocks.15.* for all layers within"),
        ({"layers": ""}, "trained layers must be a number, all, or at most"),
        ({"layers": "re:(a+)+b"}, "names and patterns with *, ? or [...], got 're:(a+)+b'"),
        ({"layers": "x" * 2001}, "at most 2000 characters"),
        ({"layers": ["conv_stem", 3]}, "layers"),
        ({"batch_size": 5001}, "at most 5000"),
        ({"batch_size": 0}, "batch size must be at least 1"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"image_size": 16}, "image size must be at least 32"),
        ({"image_size": 4096}, "image size must be at most 512"),
        ({"learning_rate": 0}, "learning rate must be a positive number"),
        ({"learning_rate": float("nan")}, "learning rate must be a finite number"),
        ({"learning_rate": float("inf")}, "learning rate must be a finite number, got inf"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, got 1.0"),
        ({"momentum": float("nan")}, "momentum must be a finite number, got nan"),
        ({"weight_decay": float("inf")}, "weight decay must be a finite number, got inf"),
        ({"weight_decay": -1e-4}, "weight decay must be at least 0"),
        ({"final_rate": 1.5}, "final rate must be at least 0 and at most 1, got 1.5"),
        ({"clip_norm": float("inf")}, "clip norm must be a finite number"),
        ({"seed": 2**53}, "seed must be at most 9007199254740991, got 9007199254740992"),
        ({"learning_rate": 1e308}, "learning rate must be at most 3.4e+38, got 1e+308"),
        ({"weight_decay": 1e308}, "weight decay must be at most 3.4e+38"),
        ({"clip_norm": 3.5e38}, "clip norm must be at most 3.4e+38"),
        ({"method": {"kind": "asi", "ranks": [4]}}, "one per mode of EfficientNet-Lite0"),
        ({"model": "x" * 9999}, "model must be one of the zoo"),
        ({"dataset": ["x" * 9999]}, "dataset"),
        ({"evaluate_every": 0}, "at least 1"),
        ({"method": {"kind": "nothing"}}, "method"),
        ({"speed": 3}, "speed"),
    ],
)
def test_wrong_values_are_reported_in_one_sentence(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RunSpec.model_validate({"method": VANILLA, **wrong})
    sentence = one_sentence(caught.value)
    assert expected in sentence
    assert "\n" not in sentence


def test_ten_points_per_run_by_default() -> None:
    assert RunSpec(method=VANILLA, steps=300).evaluation_interval == 30  # type: ignore[arg-type]
    assert RunSpec(method=VANILLA, steps=5).probe_interval == 1  # type: ignore[arg-type]
    assert RunSpec(method=VANILLA, evaluate_every=7).evaluation_interval == 7  # type: ignore[arg-type]


def test_runs_that_failed_before_a_value_was_refused_are_still_read() -> None:
    kept = RunSpec(method=VANILLA).model_dump(mode="json")  # type: ignore[arg-type]
    for wrong in ({"seed": 10**20}, {"learning_rate": 1e308}):
        with pytest.raises(ValidationError):
            RunSpec.model_validate({**kept, **wrong})
        assert RunSpec.of_record({**kept, **wrong}).model_dump(mode="json") == {**kept, **wrong}
    with pytest.raises(ValidationError):
        RunSpec.of_record({**kept, "learning_rate": -1})
