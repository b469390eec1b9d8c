"""Learning rates of steps: PyTorch's schedulers are the oracle."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, SequentialLR

from asi_core.methods import METHODS, Method
from asi_core.results.differences import changed_recipe, task_of
from asi_core.runs.submit.sweeps import Sweep
from asi_core.training.reproduce import as_command
from asi_core.training.schedules import learning_rate
from asi_core.training.spec import RunSpec


def spec(**fields: Any) -> RunSpec:
    # Pointwise layers, which all methods support.
    layers = "blocks.14.project_conv conv_head"
    return RunSpec.model_validate({"method": {"kind": "vanilla"}, "layers": layers, **fields})


def rates_of_pytorch(made: RunSpec) -> list[float]:
    """The rates of all steps by `torch.optim.lr_scheduler`."""
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=made.learning_rate)
    warm = LambdaLR(optimiser, lambda at: (at + 1) / max(made.warmup_steps, 1))
    first = max(made.warmup_steps, 1)
    then: LRScheduler = LambdaLR(optimiser, lambda _: 1.0)
    if made.schedule == "cosine":
        floor = made.final_rate * made.learning_rate
        then = CosineAnnealingLR(optimiser, max(made.steps - first, 1), eta_min=floor)
    # The last step of the warm-up, or else the first one, has the initial rate.
    both = SequentialLR(optimiser, [warm, then], [first - 1]) if first > 1 else then
    found = []
    for _ in range(made.steps):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        both.step()
    return found


@settings(max_examples=25)
@given(
    steps=st.integers(1, 12),
    share=st.floats(0, 1),
    schedule=st.sampled_from(["cosine", "constant"]),
    final=st.floats(0, 1),
)
def test_rates_are_those_of_pytorch(steps: int, share: float, schedule: str, final: float) -> None:
    warm = round(share * steps)
    made = spec(steps=steps, schedule=schedule, final_rate=final, warmup_steps=warm)
    found = [learning_rate(made, step) for step in range(1, steps + 1)]
    assert found == pytest.approx(rates_of_pytorch(made), abs=1e-12)
    assert max(found) == pytest.approx(made.learning_rate)


def test_a_warm_up_longer_than_the_run_is_refused() -> None:
    with pytest.raises(ValidationError, match="the warm-up must be at most 10, the steps of the"):
        spec(steps=10, warmup_steps=11)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda m: m.class_kind())
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_run_has_its_methods_rate_unless_it_names_one(
    method: type[Method], optimizer: str
) -> None:
    own = spec(method=method.usual(), optimizer=optimizer)
    assert own.learning_rate == method.learning_rates[optimizer]
    assert own == spec(method=method.usual(), optimizer=optimizer, learning_rate=None)
    assert "--learning-rate" not in as_command(own)
    named = spec(method=method.usual(), optimizer=optimizer, learning_rate=0.031)
    assert named.learning_rate == 0.031
    assert "--learning-rate 0.031" in as_command(named)
    assert RunSpec.model_validate_json(named.model_dump_json()) == named


def test_runs_at_their_methods_rates_have_the_same_task() -> None:
    """Whatever these rates are; one that is named makes another task."""
    own = {task_of(spec(method=method.usual())) for method in METHODS.values()}
    assert len(own) == 1
    assert "learning_rate" not in changed_recipe(*own)
    other = task_of(spec(method={"kind": "lora"}, learning_rate=0.031))
    assert other not in own
    assert changed_recipe(other)["learning_rate"] == 0.031


def test_each_method_of_a_sweep_has_its_own_rate_unless_one_is_named() -> None:
    kinds = ("eight_bit", "lora")
    own = Sweep(methods=kinds).specs()
    assert {run.learning_rate for run in own} == {
        run.method.learning_rates["sgd"] for run in own if run.layers
    }
    assert all(run.has_own_rate for run in own)
    named = Sweep(methods=kinds, base=spec(learning_rate=0.031)).specs()
    assert {run.learning_rate for run in named} == {0.031}


def test_the_recipe_is_told() -> None:
    assert spec().recipe_label == "SGD at 0.05, cosine to 0.1 of it"
    made = spec(optimizer="adamw", learning_rate=0.01, schedule="constant", warmup_steps=5)
    assert made.recipe_label == (
        "AdamW at 0.01, not the method's own, constant, after 5 steps of warm-up"
    )
    assert spec(momentum=0.9).recipe_label.startswith("SGD with momentum 0.9 at 0.05")
