"""A small network for the tests of this folder, and a batch of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Network(nn.Module):
    """A layer that is never called, three blocks, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Conv2d(3, 3, 1)
        self.blocks = nn.Sequential(*(self._block(3 if n == 0 else 8) for n in range(3)))
        self.head = nn.Linear(8, 4)

    @staticmethod
    def _block(channels: int) -> nn.Sequential:
        conv = nn.Conv2d(channels, 8, 3, padding=1)
        return nn.Sequential(conv, nn.BatchNorm2d(8), nn.ReLU(inplace=True))

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        y: Tensor = self.head(self.blocks(x).mean((2, 3)))
        return y * scale


def network() -> Network:
    """Always the same weights; statistics differ from those of a batch."""
    torch.manual_seed(0)
    model = Network()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    return model


X = torch.randn(6, 3, 12, 12, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
NAMES = ["blocks.1.0", "blocks.2.0"]


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])
