"""What fits into a memory, against trying every setting."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from asi_core.errors import InvalidInput
from asi_core.methods import ASI, METHODS, Vanilla
from asi_core.methods.lora import LoRA
from asi_core.training.features import FeaturePool
from asi_core.training.fit_result import Fitting, Setting
from asi_core.training.fitting import fit
from asi_core.training.formula_memory import formula_need
from asi_core.training.spec import RunSpec
from asi_core.units import GIB, MIB

POOL = FeaturePool(GIB)
SPEC = RunSpec(
    model="mcunet_in1",
    method=Vanilla(),
    layers=3,
    batch_size=4,
    image_size=64,
    pretrained=False,
)
FAST = 1e9


def fitted(budget: int, **given: Any) -> Fitting:
    return fit(SPEC, budget, macs_per_second=FAST, pool=POOL, **given)


def exact_needs() -> dict[tuple[int, int, bool], int]:
    """Every exact setting: layers, micro-batch, early updates -> bytes."""
    found = {}
    for layers, size, early in product((1, 2, 3), (1, 2, 4), (False, True)):
        spec = SPEC.model_copy(update={"layers": layers, "micro_batch": size, "apply_early": early})
        spec = RunSpec.model_validate({**dict(spec), "micro_batch": None if size == 4 else size})
        found[layers, size, early] = formula_need(spec).total(frozen_in_flash=True)
    return found


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8, 1.0])
def test_of_exact_settings_it_finds_what_trying_all_finds(place: float) -> None:
    needs = exact_needs()
    low, high = min(needs.values()), max(needs.values())
    budget = int(low + place * (high - low))
    fitting = {key for key, need in needs.items() if need <= budget}
    most = max(layers for layers, _, _ in fitting)
    largest = max(size for layers, size, _ in fitting if layers == most)
    found = fitted(budget, methods=[Vanilla()])
    assert found.fits
    assert (found.setting.spec.layers, found.setting.spec.pass_size) == (most, largest)
    assert found.total_bytes <= budget


def test_a_micro_batch_between_one_image_and_the_whole_is_found() -> None:
    sizes = {"model": "mobilenet_v2", "layers": 2, "batch_size": 32, "image_size": 128}
    spec = SPEC.model_copy(update=sizes)
    budget = formula_need(spec.model_copy(update={"micro_batch": 8})).total(frozen_in_flash=True)
    found = fit(spec, budget, methods=[Vanilla()], macs_per_second=FAST, pool=POOL)
    assert found.setting.spec.micro_batch == 8
    assert found.total_bytes == budget


def test_more_memory_never_loses_more() -> None:
    budgets = [int(mib * MIB) for mib in (0.9, 1.2, 2, 8)]
    found = [fitted(budget) for budget in budgets]
    errors = [f.setting.gradient_error for f in found if f.fits]
    assert errors
    assert errors == sorted(errors, reverse=True)  # type: ignore[type-var]
    assert errors[-1] == 0
    for one in found:
        assert one.fits == (one.total_bytes <= one.budget_bytes)


def test_a_plan_is_needed_as_it_says() -> None:
    needs = exact_needs()
    found = fitted(max(needs.values()), methods=[ASI])
    assert found.fits
    assert found.setting.ranks is not None
    assert len(found.setting.ranks) == found.setting.spec.layers
    assert found.setting.spec.method.memory_budget is not None
    again = formula_need(found.setting.spec, ranks=found.setting.ranks)
    assert again == found.setting.need


def test_what_does_not_fit_says_what_the_least_needs() -> None:
    found = fitted(1000)
    assert not found.fits
    assert found.total_bytes == min(exact_needs().values())
    assert found.setting.gradient_error is None


def test_the_answer_is_json_with_a_command_that_trains_it() -> None:
    written = json.loads(json.dumps(fitted(2 * MIB).as_dict()))
    assert {
        *("budget_bytes", "fits", "setting", "total_bytes", "breakdown"),
        *("gradient_error", "step_seconds"),
    } <= set(written)
    assert sum(written["breakdown"].values()) == written["total_bytes"]
    assert written["step_seconds_source"] == "stated speed"
    assert written["command"].startswith("python -m asi_core train --model mcunet_in1")


def test_a_step_is_timed_here_without_a_stated_speed() -> None:
    found = fit(SPEC, 8 * MIB, pool=POOL)
    assert found.is_measured
    assert found.step_seconds is not None
    assert found.step_seconds > 0


def test_gradients_that_wait_for_the_last_micro_batch_are_named() -> None:
    """Where they are most of what is needed, a smaller batch in one pass needs less."""
    spec = SPEC.model_copy(update={"model": "resnet18", "batch_size": 16, "micro_batch": 1})
    setting = Setting(spec, formula_need(spec), 0.0)
    found = Fitting(64 * MIB, frozen_in_flash=True, fits=True, setting=setting)
    assert "search with a smaller batch size" in found.advice
    assert found.as_dict()["advice"] == found.advice
    assert fitted(64 * MIB).advice == ""


def test_methods_whose_error_is_not_known_are_refused_and_not_proposed() -> None:
    with pytest.raises(InvalidInput, match="got LoRA: choose among Vanilla, ASI") as refused:
        fitted(MIB, methods=[LoRA])
    proposed = str(refused.value).partition("choose among ")[2].rstrip(".").split(", ")
    assert {"Vanilla", "ASI", "HOSVD", "8-bit"} & set(proposed) >= {"Vanilla", "ASI", "8-bit"}
    assert not {"LoRA", "LoRA-FA", "Sparse update", "WASI"} & set(proposed)
    for label in proposed:
        (method,) = [m for m in METHODS.values() if m.label == label]
        assert fitted(MIB, methods=[method]).total_bytes > 0


def test_frozen_weights_count_where_there_is_no_flash() -> None:
    flash, memory = fitted(8 * MIB), fitted(8 * MIB, frozen_in_flash=False)
    assert memory.total_bytes == flash.total_bytes + flash.setting.need.frozen_weights


@pytest.mark.parametrize("least", [0, 4])
def test_layers_that_cannot_be_trained_are_refused(least: int) -> None:
    with pytest.raises(InvalidInput, match="must be 1 to 3"):
        fitted(MIB, least_layers=least)


def test_a_method_of_unknown_gradient_error_is_refused() -> None:
    with pytest.raises(InvalidInput, match="gradient error must be known"):
        fitted(MIB, methods=[LoRA()])
