"""Methods that PEFT has too, compared with PEFT's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.layers.surgery import compress_
from asi_core.methods import VeLoRA

peft = pytest.importorskip("peft")


def images(*sizes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*sizes, generator=generator, dtype=torch.float64) + 0.3


@pytest.mark.parametrize(("features", "length"), [(12, 3), (10, 4), (8, 8)])
def test_velora_has_the_gradients_of_pefts(features: int, length: int) -> None:
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
