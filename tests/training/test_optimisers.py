"""The optimisers of runs against PyTorch's own classes, bit by bit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from asi_core.training.optimisers import AdamW, make_optimiser
from asi_core.training.spec import RunSpec
from tests.datasets.few import few_images

_STEPS = 5


def _parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(n, 3, generator=generator)) for n in (2, 4)]


def _set_gradients(parameters: list[nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize(
    ("settings", "make_theirs"),
    [
        ({}, lambda p: torch.optim.SGD(p, foreach=False)),
        (
            {"momentum": 0.9, "weight_decay": 0.01},
            lambda p: torch.optim.SGD(p, momentum=0.9, weight_decay=0.01, foreach=False),
        ),
        (
            {"optimizer": "adamw", "weight_decay": 0.01},
            lambda p: torch.optim.AdamW(p, weight_decay=0.01, foreach=False),
        ),
    ],
    ids=["sgd", "momentum", "adamw"],
)
def test_it_updates_as_the_class_of_pytorch(
    settings: dict[str, Any], make_theirs: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
) -> None:
    spec = RunSpec.model_validate({"method": {"kind": "vanilla"}, "weight_decay": 0.0, **settings})
    ours, theirs = _parameters(), _parameters()
    mine, other = make_optimiser(spec, ours), make_theirs(theirs)
    for step in range(_STEPS):
        rate = 0.1 / (1 + step)
        _set_gradients(ours, step)
        _set_gradients(theirs, step)
        mine.step(ours, rate)
        other.param_groups[0]["lr"] = rate
        other.step()
        if step == 2:
            # As after a resumption: the state goes on from a copy.
            copied = {
                index: {name: value.clone() for name, value in values.items()}
                for index, values in mine.state_by_index().items()
            }
            mine = make_optimiser(spec, ours)
            mine.restore_state(copied)
        assert all(a.equal(b) for a, b in zip(ours, theirs, strict=True))


def test_parameters_may_be_updated_one_by_one_and_those_without_gradient_stay() -> None:
    parameters = _parameters()
    before = [parameter.detach().clone() for parameter in parameters]
    optimiser = AdamW(parameters, 0.0)
    _set_gradients(parameters, 0)
    parameters[0].grad = None
    optimiser.step(parameters[:1], 0.1)
    assert parameters[0].equal(before[0])
    assert not optimiser.state_by_index()
    optimiser.step(parameters[1:], 0.1)
    assert not parameters[1].equal(before[1])
    assert set(optimiser.state_by_index()) == {1}
    optimiser.zero_grad()
    assert parameters[1].grad is None


def test_training_does_not_import_the_compiler() -> None:
    spec = RunSpec.model_validate(
        {
            "dataset": few_images(),
            "layers": 1,
            "steps": 2,
            "batch_size": 4,
            "image_size": 32,
            "method": {"kind": "asi", "ranks": 2},
        }
    )
    code = (
        "import sys\n"
        "from asi_core.training.features import FeaturePool\n"
        "from asi_core.training.loop import fine_tune\n"
        "from asi_core.training.spec import RunSpec\n"
        "spec = RunSpec.model_validate_json(sys.argv[1])\n"
        "assert len(list(fine_tune(spec, features=FeaturePool(2**27)))) > 2\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    command = [sys.executable, "-c", code, spec.model_dump_json()]
    subprocess.run(command, check=True, timeout=300)
