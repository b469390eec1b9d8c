"""Formula compared with measurement on every model of the zoo, by two independent meters."""

from __future__ import annotations

from typing import Any

import pytest

from asi_core.errors import InvalidInput
from asi_core.methods import METHODS, Vanilla
from asi_core.training.features import FeaturePool
from asi_core.training.measuring import measure, measure_and_compare, with_weights_at_hand
from asi_core.training.spec import RunSpec
from asi_core.units import GIB
from asi_core.zoo.cards import MODELS

POOL = FeaturePool(2 * GIB)
SETTINGS: dict[str, dict[str, Any]] = {
    "vanilla": {},
    "asi": {"ranks": 3},
    "hosvd": {"explained_variance": 0.8},
    "gradient_filter": {"patch": 2},
    "eight_bit": {},
    "checkpointing": {},
    "fixed_subspace": {"ranks": 3},
    "velora": {"subtoken": 16},
    "lora": {},
    "lora_fa": {"lora_rank": 4},
    "lora_asi": {"ranks": 3},
    "wasi": {"ranks": 3, "weight_rank": 8},
    "sparse": {"weight_budget_bytes": 200_000},
}
CASES = [
    (model, kind)
    for model, card in MODELS.items()
    for kind in METHODS
    if METHODS[kind].why_unsupported(card.usual_geometry) is None
]


@pytest.mark.parametrize(("model", "kind"), CASES)
def test_what_the_formula_says_is_kept(model: str, kind: str) -> None:
    card = MODELS[model]
    spec = RunSpec(
        model=model,
        method={"kind": kind, **SETTINGS[kind]},  # type: ignore[arg-type]
        pretrained=False,
        layers=4,
        batch_size=4,
        image_size=card.native_size if card.fixed_size else 64,
    )
    result = measure(spec, POOL).as_dict()
    assert result["meters_agree"] is True
    assert result["weights"] == "random"
    # A transformer's block keeps its own input, of the size of its first trained layer's.
    if not (kind == "checkpointing" and card.layer_kind == "linear"):
        assert [row["measured_bytes"] for row in result["layers"]] == [
            row["formula_bytes"] for row in result["layers"]
        ]
    saved = result["saved_bytes"]
    assert sum(saved["by_category"].values()) == saved["total"]
    assert saved["total"] > result["formula_bytes"] > 0


def test_a_budget_is_planned_before_it_is_measured() -> None:
    method = {"kind": "asi", "budget_bytes": 30_000}
    spec = RunSpec(method=method, layers=2, batch_size=4, image_size=64)  # type: ignore[arg-type]
    result = measure(spec, POOL).as_dict()
    assert 0 < result["formula_bytes"] <= 30_000
    assert result["weights"] == "pretrained"


def test_settings_of_lean_layers_reach_what_transformers_keep() -> None:
    method = {"kind": "asi", "ranks": 3}
    spec = RunSpec(
        model="vit_b_32",
        method=method,  # type: ignore[arg-type]
        pretrained=False,
        layers=4,
        batch_size=4,
        image_size=224,
    )
    again = {"recompute_attention": True}
    found = [
        measure(spec.model_copy(update=changes), POOL).as_dict()["saved_bytes"]
        for changes in ({}, again, {**again, "activation_bits": 8})
    ]
    kept = [saved["by_category"] for saved in found]
    assert kept[0]["other layer inputs"] > 3 * kept[1]["other layer inputs"]
    assert kept[1]["activation functions"] > 3.5 * kept[2]["activation functions"]
    assert kept[1]["normalisation"] > 3 * kept[2]["normalisation"]
    assert found[0]["total"] > 4 * found[2]["total"]


def test_lean_layers_keep_the_same_inputs_and_fewer_bytes_beside_them() -> None:
    spec = RunSpec(method={"kind": "asi", "ranks": 3}, batch_size=4, image_size=64)  # type: ignore[arg-type]
    plain, lean = (
        measure(spec.model_copy(update={"lean": value}), POOL).as_dict() for value in (False, True)
    )
    assert lean["formula_bytes"] == plain["formula_bytes"]
    assert lean["saved_bytes"]["by_category"]["normalisation"] == 0
    assert lean["saved_bytes"]["total"] * 4 < plain["saved_bytes"]["total"]


@pytest.mark.parametrize("lean", [True, False])
def test_one_step_is_kept_in_four_ways(lean: bool) -> None:
    spec = RunSpec(method={"kind": "asi", "ranks": 3}, batch_size=4, image_size=64, lean=lean)  # type: ignore[arg-type]
    result = measure_and_compare(spec, POOL).as_dict()
    compared = result["compared_bytes"]
    assert compared["formula"] == result["formula_bytes"]
    assert (compared["lean"] == result["saved_bytes"]["total"]) is lean
    vanilla = spec.model_copy(update={"method": Vanilla(), "lean": False})
    assert compared["vanilla"] == measure(vanilla, POOL).as_dict()["saved_bytes"]["total"]
    assert compared["formula"] < compared["lean"] < compared["lean_vanilla"] < compared["vanilla"]


def test_weights_that_change_no_byte_are_not_downloaded() -> None:
    given = RunSpec(model="resnet18", method={"kind": "asi", "ranks": 2})  # type: ignore[arg-type]
    assert not with_weights_at_hand(given).pretrained
    found = {"kind": "asi", "explained_variance": 0.8}
    from_data = RunSpec(model="resnet18", method=found)  # type: ignore[arg-type]
    assert with_weights_at_hand(from_data).pretrained
    here = RunSpec(method={"kind": "asi", "ranks": 2})  # type: ignore[arg-type]
    assert with_weights_at_hand(here).pretrained


def test_nothing_to_measure_is_reported() -> None:
    with pytest.raises(InvalidInput, match="trained layers must be at least 1"):
        measure(RunSpec(method={"kind": "vanilla"}, layers=0), POOL)  # type: ignore[arg-type]


@pytest.mark.usefixtures("plugins")
def test_without_a_closed_form_bytes_are_compared_as_measured() -> None:
    spec = RunSpec(method={"kind": "nonzero"}, batch_size=4, image_size=64, layers=2)  # type: ignore[arg-type]
    compared = measure_and_compare(spec, POOL).as_dict()["compared_bytes"]
    assert compared["formula"] is None
    assert 0 < compared["lean"] < compared["vanilla"]


@pytest.mark.usefixtures("plugins")
def test_a_method_decides_whether_weights_change_its_bytes() -> None:
    nonzero, thinned = (
        RunSpec(model="resnet18", method={"kind": kind})  # type: ignore[arg-type]
        for kind in ("nonzero", "thinned")
    )
    assert with_weights_at_hand(nonzero).pretrained
    assert not with_weights_at_hand(thinned).pretrained
