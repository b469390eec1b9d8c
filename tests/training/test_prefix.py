from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.errors import Unsupported
from asi_core.layers.freezing import train_only_
from asi_core.layers.selection import choose_layers
from asi_core.layers.surgery import compress_
from asi_core.methods import ASI
from asi_core.training.prefix import cut_prefix, split_frozen
from asi_core.zoo.build import build_model


class Residual(nn.Module):
    """Two values cross a cut at `second`: the residual connection and the branch."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, 4, 1, 1), 2.0))
        self.first = nn.Conv2d(3, 4, 1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        z = self.second(torch.relu(y)) * self.scale + y
        logits: Tensor = self.fc(z.mean((2, 3)))
        return logits


def trained(model: nn.Module, layers: int, head: str) -> nn.Module:
    names = compress_(model, ASI(ranks=2), layers=layers)
    train_only_(model, names, [head], train_norm=False)
    return model


def test_residual_connections_cross_the_cut() -> None:
    model = trained(Residual(), 1, "fc")
    x = torch.randn(5, 3, 6, 6)
    parts = split_frozen(model)
    values = parts.prefix(x)
    assert len(values) == 2
    assert torch.equal(parts.tail(*values), model(x))


def test_both_parts_share_the_models_parameters() -> None:
    model = trained(Residual(), 1, "fc")
    parts = split_frozen(model)
    assert parts.tail.get_submodule("second").weight is model.second.weight
    assert not any(p.requires_grad for p in parts.prefix.parameters())
    assert {id(p) for p in parts.tail.parameters() if p.requires_grad} == {
        id(p) for p in model.parameters() if p.requires_grad
    }


@pytest.mark.parametrize("layers", [0, 1, 4, 7, 49])
def test_the_split_path_is_the_plain_path(layers: int) -> None:
    model = build_model("efficientnet_lite0", 10, seed=0)
    train_only_(model, choose_layers(model, layers), ["fc"], train_norm=False)
    x = torch.randn(4, 3, 64, 64)
    parts = split_frozen(model)
    assert_close(parts.tail(*parts.prefix(x)), model(x), rtol=1e-5, atol=1e-5)
    parts.tail(*parts.prefix(x)).square().sum().backward()
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    model(x).square().sum().backward()
    expected = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(found) == len(expected) == layers + 2
    for own, plain in zip(found, expected, strict=True):
        assert_close(own, plain, rtol=1e-3, atol=1e-5 * float(plain.abs().max()))


def test_a_deeper_prefix_is_found_inside_a_longer_one() -> None:
    model = build_model("efficientnet_lite0", 10, seed=0)
    deep = split_frozen(trained(model, 4, "fc"))
    model = build_model("efficientnet_lite0", 10, seed=0)
    long = split_frozen(trained(model, 0, "fc"))
    pieces = cut_prefix(long.prefix, deep.crossing)
    assert pieces is not None
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(pieces[1](*pieces[0](x))[0], long.prefix(x)[0])
    assert torch.equal(pieces[0](x)[0], deep.prefix(x)[0])
    assert cut_prefix(deep.prefix, long.crossing) is None
    assert cut_prefix(long.prefix, ["no_such_value"]) is None


def test_a_cut_that_a_value_bypasses_is_refused() -> None:
    model = trained(Residual(), 0, "fc")
    prefix = split_frozen(model).prefix
    assert cut_prefix(prefix, ["relu"]) is None
    assert cut_prefix(prefix, ["first"]) is not None


def test_what_cannot_be_split_is_reported() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(Unsupported, match="Branching cannot be traced"):
        split_frozen(Branching())
    with pytest.raises(Unsupported, match="no parameter"):
        split_frozen(nn.Sequential(nn.Linear(2, 2)).requires_grad_(False))
