"""WASI compared with its equations, step by step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.costs.measurement import SavedBytes
from asi_core.errors import Unsupported
from asi_core.layers.surgery import compress_, restore_
from asi_core.layers.warm_starts import load_warm_starts_, warm_starts
from asi_core.methods import ASI, WASI

RANK = 3


def network(method: Any, layer: nn.Module | None = None) -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(layer or nn.Linear(7, 5)).double()
    compress_(model, method, layers=["0"], lean=False)
    return model


def tokens(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 6, 7, generator=generator, dtype=torch.float64)


def test_steps_are_those_of_the_equations() -> None:
    """L by one iteration from the L before, R = L^T W, and the whole weight updated."""
    model, kept = network(WASI(ranks=2, weight_rank=RANK)), network(ASI(ranks=2))
    layer = model[0]
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    left = torch.linalg.svd(weight)[0][:, :RANK]
    for step in range(4):
        x = tokens(step).requires_grad_()
        if step:
            left = torch.linalg.qr(weight @ weight.T @ left)[0]
        truncated = left @ left.T @ weight
        expected = x.detach() @ truncated.T + bias
        output = model(x)
        assert_close(output, expected)
        grad_output = 2 * expected
        output.square().sum().backward()
        assert_close(x.grad, grad_output @ truncated)
        assert_close(layer.bias.grad, grad_output.sum((0, 1)))
        # ASI of the same inputs, with the same gradient of its output.
        (kept(x.detach()) * grad_output).sum().backward()
        assert_close(layer.weight.grad, kept[0].weight.grad)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.01 * parameter.grad
        weight = weight - 0.01 * kept[0].weight.grad
        bias = bias - 0.01 * grad_output.sum((0, 1))
        assert_close(layer.weight, weight)
        assert_close(no_gradient(model, x), x @ (left @ left.T @ weight).T + bias)
        model.zero_grad()
        kept.zero_grad()


def no_gradient(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(x)
    return found


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_the_rank_reaches_the_share_of_the_weights_energy(share: float) -> None:
    model = network(WASI(ranks=2, weight_variance=share))
    energy = torch.linalg.svdvals(model[0].weight.detach()).square().cumsum(0)
    model(tokens(0)).sum().backward()
    rank = model[0].memory.weight_factor.shape[1]
    assert energy[rank - 1] >= share * energy[-1]
    assert rank == 1 or energy[rank - 2] < share * energy[-1]


@pytest.mark.parametrize("has_input_gradient", [True, False])
def test_factors_are_kept_for_input_gradients_alone(has_input_gradient: bool) -> None:
    model = network(WASI(ranks=2, weight_rank=RANK))
    x = tokens(0).requires_grad_(has_input_gradient)
    with SavedBytes(model) as meter:
        model(x)
    tucker = 2 * 2 * 2 + 2 * (4 + 6 + 7)
    assert meter.total == 8 * (tucker + (RANK * (5 + 7) if has_input_gradient else 0))


def test_a_pointwise_convolution_is_a_linear_layer_over_channels() -> None:
    conv = network(WASI(ranks=2, weight_rank=RANK), nn.Conv2d(7, 5, 1))
    linear = network(WASI(ranks=2, weight_rank=RANK))
    with torch.no_grad():
        conv[0].weight.copy_(linear[0].weight[:, :, None, None])
        conv[0].bias.copy_(linear[0].bias)
    x = tokens(0)
    assert_close(conv(x.mT[..., None]).squeeze(-1).mT, linear(x))


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1, groups=2)],
    ids=str,
)
def test_other_layers_are_refused(layer: nn.Module) -> None:
    with pytest.raises(Unsupported, match="a linear layer or of a pointwise convolution"):
        network(WASI(ranks=2), layer)


def test_restoring_keeps_the_output_and_a_warm_start_the_basis() -> None:
    method = WASI(ranks=2, weight_rank=RANK)
    model, other = network(method), network(method)
    for step in range(2):
        model(tokens(step)).square().sum().backward()
        with torch.no_grad():
            model[0].weight -= 0.01 * model[0].weight.grad
    other.load_state_dict(model.state_dict())
    load_warm_starts_(other, warm_starts(model))
    output = no_gradient(model, tokens(5))
    assert torch.equal(no_gradient(other, tokens(5)), output)
    restore_(model)
    assert type(model[0]) is nn.Linear
    assert_close(model(tokens(5)).detach(), output)
