from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from asi_core.costs.clocks import LayerClocks
from asi_core.layers.surgery import compress_
from asi_core.methods import ASI


class _Slow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        time.sleep(0.02)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        time.sleep(0.05)
        return grad_output


class SlowConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return _Slow.apply(super().forward(x))


class SlowBlock(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Slow.apply(x)


def test_seconds_are_those_of_the_layers_alone() -> None:
    """All nodes of a layer, but none before, between or after its layers."""
    model = nn.Sequential(
        nn.Conv2d(2, 2, 1), SlowBlock(), SlowConv(2, 2, 1), SlowBlock(), nn.Conv2d(2, 2, 1)
    )
    clocks = LayerClocks(model, ["0", "2", "4"])
    with clocks:
        loss = model(torch.randn(1, 2, 4, 4)).sum()
    loss.backward()
    assert 0.02 <= clocks.forward_seconds["2"] < 0.04
    assert 0.05 <= clocks.backward_seconds["2"] < 0.1
    for name in ("0", "4"):
        assert 0 < clocks.forward_seconds[name] < 0.02
        assert 0 < clocks.backward_seconds[name] < 0.05


def test_several_calls_are_added_up() -> None:
    conv = SlowConv(2, 2, 1)
    model = nn.Sequential(conv, nn.ReLU(inplace=True), conv)
    clocks = LayerClocks(model, ["0"])
    with clocks:
        loss = model(torch.randn(1, 2, 4, 4)).sum()
    loss.backward()
    assert 0.04 <= clocks.forward_seconds["0"] < 0.08
    assert 0.1 <= clocks.backward_seconds["0"] < 0.2


def test_an_activation_may_change_a_timed_layers_result_in_place() -> None:
    """Hooks around a module's backward would prevent it."""
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU6(inplace=True), nn.Conv2d(4, 4, 1))
    compress_(model, ASI(ranks=2), layers=2)
    clocks = LayerClocks(model, ["0", "2"])
    with clocks:
        loss = model(torch.randn(4, 4, 6, 6)).sum()
    loss.backward()
    assert min(clocks.forward_seconds.values()) > 0
    assert set(clocks.backward_seconds) == {"0", "2"}
    assert min(clocks.backward_seconds.values()) > 0


def test_what_runs_after_it_is_closed_is_not_timed() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1))
    clocks = LayerClocks(model, ["0"])
    with clocks:
        pass
    model(torch.randn(1, 2, 4, 4)).sum().backward()
    assert not clocks.forward_seconds
    assert not clocks.backward_seconds
