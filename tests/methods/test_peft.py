"""Methods that PEFT has too, compared with PEFT's."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.layers.surgery import compress_, restore_
from asi_core.methods import LoRA, LoRAFA, VeLoRA


@pytest.fixture(scope="module")
def peft() -> Any:
    """PEFT, imported by the process that needs it: that takes seconds."""
    return pytest.importorskip("peft")


def images(*sizes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*sizes, generator=generator, dtype=torch.float64) + 0.3


@pytest.mark.parametrize(("features", "length"), [(12, 3), (10, 4), (8, 8)])
def test_velora_has_the_gradients_of_pefts(peft: Any, features: int, length: int) -> None:
    """PEFT compresses the input of its A: a linear layer of which we compress the input."""
    groups = -(-features // length)
    theirs: Any = peft.get_peft_model(
        nn.Sequential(nn.Linear(features, 5)).double(),
        peft.LoraConfig(
            r=3,
            lora_alpha=3,
            target_modules=["0"],
            velora_config={"num_groups": groups, "init_type": "batch_average_once"},
        ),
    ).base_model.model[0]
    own, a = nn.Linear(features, 3, bias=False).double(), theirs.lora_A["default"]
    ours: Any = nn.Sequential(own)
    with torch.no_grad():
        own.weight.copy_(a.weight)
        theirs.lora_B["default"].weight.normal_()
    b = theirs.lora_B["default"].weight.detach()
    compress_(ours, VeLoRA(subtoken=length), layers=["0"], lean=False)
    for seed in range(2):
        x, y = (images(4, 7, features, seed=seed).requires_grad_() for _ in range(2))
        theirs.train()
        found, expected = ours(x) @ b.T + theirs.base_layer(x), theirs(y)
        assert_close(found, expected)
        for model, output in ((ours, found), (theirs, expected)):
            model.zero_grad()
            output.square().sum().backward()
        # PEFT finds its vector in single precision.
        assert_close(ours[0].weight.grad, a.weight.grad, rtol=1e-5, atol=1e-5)
        assert_close(x.grad, y.grad)


LAYERS: list[tuple[Any, tuple[int, ...]]] = [
    (lambda: nn.Linear(9, 5), (4, 7, 9)),
    (lambda: nn.Conv2d(6, 5, 3, stride=2, padding=1), (4, 6, 8, 7)),
    (lambda: nn.Conv2d(6, 5, 1, bias=False), (4, 6, 8, 7)),
]


@pytest.mark.parametrize("trains_a", [True, False])
@pytest.mark.parametrize(("make", "sizes"), LAYERS, ids=["linear", "3 x 3", "1 x 1"])
def test_lora_has_the_outputs_and_gradients_of_pefts(
    peft: Any, make: Any, sizes: tuple[int, ...], trains_a: bool
) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(make()).double()
    ours: Any = copy.deepcopy(plain)
    compress_(ours, (LoRA if trains_a else LoRAFA)(lora_rank=3, lora_alpha=5), layers=["0"])
    config = peft.LoraConfig(r=3, lora_alpha=5, target_modules=["0"])
    theirs: Any = peft.get_peft_model(plain, config).base_model.model[0]
    a, b = theirs.lora_A["default"].weight, theirs.lora_B["default"].weight
    assert [ours[0].lora_a.shape, ours[0].lora_b.shape] == [a.shape, b.shape]
    with torch.no_grad():
        ours[0].lora_a.copy_(a)
        ours[0].lora_b.copy_(b.normal_())
    x, y = (images(*sizes).requires_grad_() for _ in range(2))
    found, expected = ours(x), theirs(y)
    assert_close(found, expected)
    for output in (found, expected):
        output.square().sum().backward()
    assert_close(ours[0].lora_b.grad, b.grad)
    assert_close(x.grad, y.grad)
    assert ours[0].weight.grad is None
    if trains_a:
        assert_close(ours[0].lora_a.grad, a.grad)
    else:
        assert ours[0].lora_a.grad is None
    restore_(ours)
    theirs.merge()
    assert_close(ours[0].weight, theirs.base_layer.weight)
