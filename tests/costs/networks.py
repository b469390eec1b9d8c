"""Small networks whose saved bytes can be counted by hand, and a measured step of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core.costs.measurement import StepMeasurement, measure_step


def batch(*shape: int) -> Callable[[], tuple[Tensor, ...]]:
    """Creates the same float32 batch at every call."""

    def make() -> tuple[Tensor, ...]:
        return (torch.randn(shape, generator=torch.Generator().manual_seed(0)),)

    return make


def step(
    model: nn.Module,
    make_inputs: Callable[[], tuple[Tensor, ...]],
    layers: Sequence[str] = (),
    head: str | None = None,
    loss_of: Callable[[Tensor], Tensor] = Tensor.sum,
) -> StepMeasurement:
    """Measured; the default loss saves nothing."""
    return measure_step(model, make_inputs, loss_of, layers, head)


def categories(measured: StepMeasurement) -> dict[str, int]:
    """Only categories in which something is kept."""
    return {name: count for name, count in measured.category_bytes.items() if count}


class Applied(nn.Module):
    """A trained 1 x 1 convolution, and a function applied to its result."""

    def __init__(self, function: Callable[[Tensor], Tensor], channels: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x))


class Residual(nn.Module):
    """Two trained convolutions, in-place activations and a shortcut around them."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels).requires_grad_(False)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(y)) + x)
        return out


class Hiding(torch.autograd.Function):
    """Keeps its input where no hook sees it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.x = 2 * x
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        return grad_output


class Caching(nn.Module):
    """Stores its latest input."""

    def forward(self, x: Tensor) -> Tensor:
        self.cache = x
        return F.relu(x)
