"""Low-rank adaptation compared with autograd, with the merged weight, and with the meters."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.compression import Compression, prepare_
from asi_core.costs.accounting import step_cost
from asi_core.costs.measurement import SavedBytes
from asi_core.errors import Unsupported
from asi_core.layers.freezing import train_only_
from asi_core.layers.surgery import compress_, restore_
from asi_core.methods import ASI, HOSVD, LoRA, LoRAFA, LoRAOverASI, Method, Vanilla
from asi_core.records import ConvGeometry, LayerShape

METHODS: list[Method] = [LoRA(lora_rank=2), LoRAFA(lora_rank=2), LoRAOverASI(ranks=3, lora_rank=2)]
CONVOLUTIONS: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    {"kernel_size": 3, "dilation": 2, "groups": 3},
    {"kernel_size": 3, "groups": 6},
    {"kernel_size": 1},
]


def network(**geometry: Any) -> nn.Sequential:
    torch.manual_seed(0)
    geometry = geometry or {"kernel_size": 3}
    return nn.Sequential(nn.Conv2d(6, 6, **geometry), nn.ReLU(), nn.Conv2d(6, 3, 1)).double()


def images(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 6, 8, 7, generator=generator, dtype=torch.float64)


def trained(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def train(model: nn.Module, steps: int = 3) -> None:
    optimiser = torch.optim.SGD(trained(model), lr=0.05)
    for step in range(steps):
        optimiser.zero_grad()
        model(images(step)).square().mean().backward()
        optimiser.step()


@pytest.mark.parametrize("geometry", CONVOLUTIONS, ids=str)
def test_gradients_are_autograds_through_the_merged_weight(geometry: dict[str, Any]) -> None:
    model: Any = network(**geometry)
    compress_(model, LoRA(lora_rank=2, lora_alpha=3), layers=["0"], lean=False)
    layer = model[0]
    with torch.no_grad():
        layer.lora_b.normal_()
    x, y = images().requires_grad_(), images().requires_grad_()
    model(x).square().sum().backward()
    found = [layer.lora_a.grad, layer.lora_b.grad, x.grad]
    # Of the same numbers, as one convolution.
    merged = nn.Conv2d(6, 6, **geometry).double()
    again = nn.Sequential(merged, *model[1:])
    values = {"weight": layer.weight + layer.update(), "bias": layer.bias}
    output = torch.func.functional_call(again, {f"0.{n}": v for n, v in values.items()}, (y,))
    assert_close(model(x), output)
    a, b = layer.lora_a, layer.lora_b
    expected = torch.autograd.grad(output.square().sum(), [a, b, y])
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_restoring_merges_what_was_trained(method: Method) -> None:
    model = network()
    weight, keys = model[0].weight, set(model.state_dict())
    compress_(model, method, layers=["0", "2"])
    before = weight.detach().clone()
    train(model)
    output = model(images())
    restore_(model)
    assert_close(model(images()), output)
    assert model[0].weight is weight
    assert not torch.equal(weight, before)
    assert weight.requires_grad
    assert set(model.state_dict()) == keys


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_freezing_before_and_after_are_the_same(method: Method, first: bool) -> None:
    """What is trained of the chosen layer is its adapter, and nothing of the other."""
    model = network()
    if first:
        train_only_(model, ["2"])
    compress_(model, method, layers=["0", "2"])
    if not first:
        train_only_(model, ["2"])
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    assert names == ({"2.lora_b"} if isinstance(method, LoRAFA) else {"2.lora_a", "2.lora_b"})


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_prepared_network_trains_its_adapters_alone(method: Method) -> None:
    model = network()
    frozen = {name: value.clone() for name, value in model.state_dict().items()}
    report = prepare_(model, Compression(method, layers=["0"]), example=images())
    assert report.trained_parameters == sum(p.numel() for p in trained(model))
    train(model)
    for name, value in frozen.items():
        assert torch.equal(model.state_dict()[name], value)
    copied = copy.deepcopy(model)
    assert torch.equal(copied(images()), model(images()))


def test_another_method_takes_over_the_trained_weight() -> None:
    model = network()
    compress_(model, LoRA(), layers=["0"])
    train(model)
    output = model(images())
    compress_(model, ASI(ranks=2), layers=["0"])
    assert_close(model(images()), output)
    assert [name for name, _ in model[0].named_parameters()] == ["weight", "bias"]
    assert model[0].weight.requires_grad


def test_with_all_ranks_asi_keeps_what_lora_needs() -> None:
    """The gradients of A are those from the whole input; at low ranks they are HOSVD-like."""
    gradients = []
    for method in (LoRA(), LoRAOverASI(ranks=1000)):
        model: Any = network()
        compress_(model, method, layers=["0"])
        model[0].lora_b.data.fill_(0.1)
        model(images()).square().sum().backward()
        gradients.append(model[0].lora_a.grad)
    assert_close(gradients[0], gradients[1])


def test_an_input_that_another_layer_keeps_is_counted_once() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Conv2d(6, 4, 3), nn.Conv2d(6, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x) + self.other(x)

    model = Two()
    compress_(model, LoRA(lora_rank=2), layers=["one", "other"])
    with SavedBytes(model) as meter:
        model(images().float())
    geometry = ConvGeometry((1, 1), (0, 0, 0, 0), (1, 1), 1)
    shapes = [
        LayerShape(n, (4, 6, 8, 7), (4, 4, 6, 5), (4, 6, 3, 3), geometry, False, input_id="x")
        for n in ("one", "other")
    ]
    assert step_cost(shapes, LoRA(lora_rank=2), "exact").activation_bytes == meter.total


def test_nothing_of_a_frozen_layer_is_kept() -> None:
    model = network()
    compress_(model, LoRA(), layers=["0"], lean=False)
    model.requires_grad_(False)
    with SavedBytes(model[:1]) as meter:
        model[:1](images().requires_grad_())
    assert meter.total == 0


@pytest.mark.parametrize("make", [nn.Conv2d, nn.Linear])
def test_mixed_precision_keeps_its_type(make: Callable[..., nn.Module]) -> None:
    layer = make(6, 4, 1) if make is nn.Conv2d else make(7, 4)
    model = nn.Sequential(layer)
    compress_(model, LoRA(), layers=["0"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(images().float())
    assert output.dtype == torch.bfloat16
    output.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in trained(model))


class Standardised(nn.Conv2d):
    """With a forward pass of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight / self.weight.std(), self.bias)


def test_a_layer_with_a_forward_pass_of_its_own_is_refused() -> None:
    model = nn.Sequential(Standardised(6, 4, 1))
    compress_(model, HOSVD(ranks=2), layers=["0"])
    with pytest.raises(Unsupported, match="name it in exclude"):
        compress_(model, LoRA(), layers=["0"])
    assert model[0].weight.requires_grad
    compress_(model, Vanilla(), layers=["0"])
