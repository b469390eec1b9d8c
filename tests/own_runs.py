"""Kept runs of a small network that is in no registry."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from asi_core import Compression, fine_tune, keep_run
from asi_core.runs.records import RunRecord
from asi_core.training.fine_tuning import FineTuning

LAYERS = ["2", "6"]


def own_network(seed: int = 0) -> nn.Module:
    """A convolution and a linear layer to be trained, and a classifier."""
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4)),
    )


def own_batches(count: int = 3) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(4, (count, 8), generator=generator)
    images = torch.randn(count, 8, 3, 10, 10, generator=generator) + labels[..., None, None, None]
    return list(zip(images, labels, strict=True))


def training(method: Any = "vanilla", *, seed: int = 0, **recipe: Any) -> FineTuning:
    """Six steps on three batches."""
    config = Compression(method, layers=LAYERS, also_trained="8")
    batches = own_batches()
    return fine_tune(own_network(seed), batches, config, test=batches[:2], **{"steps": 6, **recipe})


def kept(method: Any = "vanilla", **given: Any) -> RunRecord:
    """A kept run of the comparison "first try"."""
    return keep_run(training(method, **given), network="tiny", data="dots", comparison="first try")


ASI = {"kind": "asi", "ranks": 2}
