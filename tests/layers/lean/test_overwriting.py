"""Overwriting what nobody reads any more changes no number."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, fx, nn

from asi_core.layers.compressed import may_overwrite
from asi_core.layers.lean import lean_
from asi_core.layers.lean.overwriting import sum_into
from asi_core.layers.surgery import compress_


class Block(nn.Module):
    """Depthwise convolution between activations, a shortcut, and a mean after an activation."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, channels, 1)
        self.act1 = nn.ReLU6()
        self.depth = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.act2 = nn.ReLU()
        self.project = nn.Conv2d(channels, channels, 1)
        self.act3 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.act1(self.expand(x))
        y = self.project(self.act2(self.depth(first))) + x
        return self.pool(self.act3(y)).flatten(1)


def made(method: str = "asi") -> tuple[fx.GraphModule, fx.GraphModule]:
    """A traced block with compressed layers, and its copy with lean ones."""
    torch.manual_seed(0)
    model = Block()
    settings = {"ranks": 4} if method == "asi" else {}
    plain = fx.symbolic_trace(model)
    compress_(plain, method, layers="all", lean=False, **settings)
    overwriting = deepcopy(plain)
    lean_(overwriting)
    return plain, overwriting


def gradients(model: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    model(x).square().sum().backward()
    return [x.grad, *(p.grad for p in model.parameters())]  # type: ignore[list-item]


def test_what_is_overwritten_follows_from_the_graph() -> None:
    _, lean = made()
    assert lean.act1.inplace
    assert lean.act2.inplace
    # Its input is the sum, which nobody else reads.
    assert lean.act3.inplace
    assert lean.depth.overwrites_input
    # The shortcut reads the argument of the model.
    assert not lean.expand.overwrites_input
    assert lean.pool.returns_view
    assert any(node.target is sum_into for node in lean.graph.nodes)


def test_numbers_stay_the_same() -> None:
    for layout in (torch.contiguous_format, torch.channels_last):
        plain, lean = made()
        # Parts of the batch are worth it for a small weight only.
        x = torch.randn(16, 8, 9, 9).to(memory_format=layout)
        for _ in range(2):
            for expected, found in zip(gradients(plain, x), gradients(lean, x), strict=True):
                torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_a_value_with_two_readers_is_left() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = nn.Conv2d(4, 4, 1), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return self.relu(y) * y

    traced = fx.symbolic_trace(Twice())
    plain = deepcopy(traced)
    lean_(traced)
    assert not traced.relu.inplace
    x = torch.randn(2, 4, 3, 3)
    for expected, found in zip(gradients(plain, x), gradients(traced, x), strict=True):
        assert torch.equal(expected, found)


def test_a_watched_layer_overwrites_nothing() -> None:
    """Whoever watches reads its input and its gradient later."""
    _, lean = made()
    seen: list[Tensor] = []
    lean.depth.watcher = lambda output, factor: seen.append(output.detach().clone())
    x = torch.randn(16, 8, 9, 9)
    inputs: list[Tensor] = []
    handle = lean.depth.register_forward_hook(lambda m, i, o: inputs.append(i[0].detach()))
    before = lean.act1(lean.expand(x)).detach().clone()
    gradients(lean, x)
    handle.remove()
    assert torch.equal(inputs[0], before)
    assert seen


def test_a_sum_that_does_not_fit_is_made_anew() -> None:
    x, y = torch.randn(2, 1), torch.randn(2, 3)
    assert torch.equal(sum_into(x, y), x + y)
    assert x.shape == (2, 1)
    leaf = torch.randn(2, 3, requires_grad=True)
    assert sum_into(leaf, y) is not leaf
    z = y.clone()
    assert sum_into(z, y) is z
    assert torch.equal(z, 2 * y)


def test_an_input_that_is_kept_is_not_overwritten() -> None:
    _, lean = made()
    x = torch.randn(16, 8, 9, 9)
    shape = tuple(x.shape)
    assert may_overwrite(lean.depth, x, shape, (x.clone(), None))
    assert not may_overwrite(lean.depth, x, shape, (x,))
    assert not may_overwrite(lean.depth, x, shape, (None, x[:1]))
    assert not may_overwrite(lean.depth, x, (16, 8, 5, 5), ())
