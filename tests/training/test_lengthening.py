"""A longer run begins as a shorter one: which can be lengthened, and that the numbers are equal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asi_core.errors import InvalidInput, Unsupported
from asi_core.training.lengthening import lengthened
from asi_core.training.loop import fine_tune
from asi_core.training.schedules import learning_rate
from asi_core.training.spec import RunSpec
from tests.training.test_checkpoint import POOL, numbers, spec, undisturbed

# One with state of each kind: an optimiser's, warm starts, ranks that are found from images.
CASES: list[dict[str, Any]] = [
    {"method": {"kind": "vanilla"}, "momentum": 0.9, "warmup_steps": 3},
    {"method": {"kind": "asi", "ranks": 4, "refresh_every": 3}, "micro_batch": 16},
    {"method": {"kind": "asi", "explained_variance": 0.8}, "optimizer": "adamw"},
    {"method": {"kind": "lora_asi", "ranks": 4}, "momentum": 0.9},
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['method']['kind']}-{len(str(c))}")
def test_a_lengthened_run_has_the_numbers_of_one_that_was_long(case: dict[str, Any]) -> None:
    """Across the end of an epoch, whose last batch, the seventh, is smaller."""
    short = spec(**case, steps=5, schedule="constant", evaluate_every=2)
    long = lengthened(short, 9)
    done, states = undisturbed(short)
    begun = replace(states[-1], spec=long)
    assert begun.step == 5
    ends = []
    added = list(fine_tune(long, features=POOL, resume=begun, keep=ends.append))[1:]
    expected, whole = undisturbed(long)
    assert done[-1].kind == "evaluation"
    assert numbers(done[:-1] + added) == numbers(expected)
    assert ends[-1].tensors.keys() == whole[-1].tensors.keys()
    for name, value in whole[-1].tensors.items():
        assert torch.equal(value, ends[-1].tensors[name]), name


@given(
    st.sampled_from(["constant", "cosine"]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 40),
    st.sampled_from([0.1, 0.5, 1.0]),
)
def test_what_is_lengthened_has_the_same_rates(
    schedule: str, steps: int, more: int, warmup: int, final: float
) -> None:
    fields = {"schedule": schedule, "warmup_steps": min(warmup, steps), "final_rate": final}
    short = spec(method={"kind": "vanilla"}, steps=steps, **fields)
    try:
        long = lengthened(short, steps + more)
    except Unsupported:
        assert schedule == "cosine"
        assert final < 1
        assert steps > max(warmup, 1)
        return
    assert [learning_rate(short, n) for n in range(1, steps + 1)] == [
        learning_rate(long, n) for n in range(1, steps + 1)
    ]
    assert long.evaluation_interval == short.evaluation_interval
    assert long.probe_interval == short.probe_interval
    intervals = {"evaluate_every", "probe_every", "steps"}
    assert long.model_dump(exclude=intervals) == short.model_dump(exclude=intervals)
    assert RunSpec.model_validate(long.model_dump()) == long


def test_a_cosine_is_refused_in_one_sentence() -> None:
    with pytest.raises(Unsupported) as refusal:
        lengthened(spec(method={"kind": "vanilla"}), 300)
    assert str(refusal.value) == (
        "the cosine schedule ends with the run, so a run of 300 steps has other learning rates "
        "from its first steps on: train it from the start, or choose the constant schedule for "
        "runs that are to be lengthened."
    )


@pytest.mark.parametrize("steps", [0, 6, 7])
def test_a_longer_run_is_longer(steps: int) -> None:
    with pytest.raises(InvalidInput, match=f"more than the 7 steps that are done, got {steps}"):
        lengthened(spec(method={"kind": "vanilla"}, schedule="constant"), steps)
