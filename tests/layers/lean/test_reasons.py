from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, fx, nn

from asi_core.layers.lean import lean_, unlean_
from tests.layers.lean.cases import types


def test_what_keeps_its_bytes_is_reported_with_the_reason() -> None:
    class Own(nn.ReLU):
        pass

    layers = {
        "conv": nn.Conv2d(4, 4, 1),
        "relu": nn.ReLU(),
        "own": Own(),
        "gelu": nn.GELU(),
        "hardswish": nn.Hardswish(),
        "norm": nn.BatchNorm2d(4),
        "trained": nn.BatchNorm2d(4).eval(),
        "batch": nn.BatchNorm2d(4, affine=False, track_running_stats=False).eval(),
        "group": nn.GroupNorm(1, 4),
        "pool": nn.AvgPool2d(2),
        "three": nn.AdaptiveAvgPool2d(3),
        "one": nn.AdaptiveAvgPool2d((1, 1)),
        "dropout": nn.Dropout(),
        "no_dropout": nn.Dropout().eval(),
        "flatten": nn.Flatten(),
    }
    model = nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name, layer)
    before = types(model)
    report = lean_(model)
    assert report.replaced == ("relu", "one", "dropout", "no_dropout")
    assert report.kept == {
        "own": "Own overrides forward",
        "gelu": "GELU: its gradient needs its input or its result, not one bit of them",
        "hardswish": "Hardswish: its gradient needs its input or its result, not one bit of them",
        "norm": "it is in training mode: its gradient needs its input",
        "trained": "it trains its affine map, whose gradient needs its input",
        "batch": "it has no running statistics: its gradient needs its input",
        "group": "GroupNorm: its gradient needs its input",
        "pool": "AvgPool2d: PyTorch keeps its input, and it has no lean form",
        "three": "PyTorch keeps its input unless it averages over all positions",
    }
    unlean_(model)
    assert types(model) == before


def test_functions_that_keep_their_bytes_are_reported_with_the_reason() -> None:
    class Calling(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = F.dropout(F.gelu(x), training=False) + F.dropout(x.sigmoid())
            x = F.max_pool2d(F.layer_norm(x, (8, 8)), 2).clamp(0, 6)
            return F.adaptive_avg_pool2d(x, 2) + F.adaptive_avg_pool2d(x, 1)

    report = lean_(Calling())
    assert set(report.kept) == {
        *("gelu", "dropout_1", "sigmoid", "layer_norm", "max_pool2d", "clamp"),
        "adaptive_avg_pool2d",
    }
    traced = lean_(fx.symbolic_trace(Calling()))
    assert traced.kept == report.kept
    assert traced.replaced == ("adaptive_avg_pool2d_1",)


def test_a_model_that_cannot_be_traced_is_reported() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.relu(x) if x.sum() > 0 else F.gelu(x)
            return y

    report = lean_(Branching())
    assert report.replaced == ("relu",)
    assert "torch.fx cannot trace it" in report.kept["the model"]
