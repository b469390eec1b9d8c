"""VeLoRA compared with the gradient of the rebuilt input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.layers.surgery import compress_
from asi_core.methods import VeLoRA


def compressed(layer: nn.Module, subtoken: int) -> Any:
    model = nn.Sequential(layer.double())
    compress_(model, VeLoRA(subtoken=subtoken), layers=["0"], lean=False)
    return model[0]


def draw(*sizes: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*sizes, generator=generator, dtype=torch.float64) + 0.3


def rebuilt(x: Tensor, first: Tensor, length: int, groups: int = 1) -> Tensor:
    """Token by token and piece by piece: the channels last, of `x` and of the first batch."""

    def pieces(token: Tensor) -> list[Tensor]:
        return [
            F.pad(piece, (0, length - len(piece)))
            for group in token.chunk(groups)
            for piece in group.split(length)
        ]

    tokens = first.flatten(0, -2)
    mean = torch.stack([piece for token in tokens for piece in pieces(token)]).mean(0)
    v = mean / mean.norm()
    channels = x.shape[-1] // groups

    def again(token: Tensor) -> Tensor:
        parts = [(piece @ v) * v for piece in pieces(token)]
        of_group = len(parts) // groups
        return torch.cat(
            [torch.cat(parts[g * of_group :][:of_group])[:channels] for g in range(groups)]
        )

    return torch.stack([again(token) for token in x.flatten(0, -2)]).view(x.shape)


@given(features=st.integers(2, 9), length=st.integers(2, 12), seed=st.integers(0, 99))
def test_a_linear_layers_gradient_is_the_rebuilt_inputs(
    features: int, length: int, seed: int
) -> None:
    layer, first = compressed(nn.Linear(features, 3), length), draw(2, 3, features, seed=seed)
    for x in (first, draw(4, 5, features, seed=seed + 100)):
        layer.zero_grad()
        output = layer(x)
        output.square().sum().backward()
        met = rebuilt(x, first, min(length, features)).flatten(0, -2)
        expected = (2 * output.detach()).flatten(0, -2).T @ met
        assert_close(layer.weight.grad, expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolutions_gradient_is_the_rebuilt_inputs(
    groups: int, layout: torch.memory_format
) -> None:
    layer = compressed(nn.Conv2d(10, 4, 3, padding=1, stride=2, groups=groups), 4)
    first = draw(2, 10, 5, 4, seed=0)
    for x in (first, draw(3, 10, 5, 4, seed=1)):
        layer.zero_grad()
        output = layer(x.to(memory_format=layout))
        output.square().sum().backward()
        channels_last = rebuilt(x.movedim(1, -1), first.movedim(1, -1), 4, groups)
        plain = layer.to_plain()
        (expected,) = torch.autograd.grad(
            plain(channels_last.movedim(-1, 1)), plain.weight, 2 * output.detach()
        )
        assert_close(layer.weight.grad, expected)


@pytest.mark.parametrize("bad", [float("nan"), 0.0])
def test_a_first_batch_without_a_mean_fixes_no_vector(bad: float) -> None:
    layer, x = compressed(nn.Linear(6, 3), 3), draw(4, 6, seed=0)
    layer(x * bad).sum().backward()
    assert layer.memory.factors == {}
    layer(x).sum().backward()
    (vector,) = layer.memory.factors.values()
    mean = x.reshape(-1, 3).mean(0)
    assert_close(vector[:, 0], mean / mean.norm())
