from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from asi_core.errors import InvalidInput
from asi_core.layers.lean import lean_, unlean_
from asi_core.layers.lean.conv_norm import CompressedConvNorm2d
from tests.costs.networks import Residual, batch, categories, step
from tests.layers.lean.cases import (
    LEAN,
    Functional,
    assert_all_close,
    assert_all_equal,
    random_norm,
    types,
)


class Shortcut(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        y += x
        return y


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    """Random blocks; normalisations are trained or not, and an activation is called many times."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    shared = draw(st.sampled_from([nn.ReLU, nn.ReLU6]))(draw(st.booleans()))
    blocks: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 3))):
        groups = draw(st.sampled_from([1, 2, 4]))
        norm = random_norm(4).requires_grad_(draw(st.sampled_from([False, False, True])))
        inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=groups, bias=False), norm)
        inner.append(shared if draw(st.booleans()) else nn.ReLU6(draw(st.booleans())))
        # A shortcut changes its inner result, which a plain ReLU needs unchanged.
        inner.append(nn.Conv2d(4, 4, 1))
        blocks += [Shortcut(inner) if draw(st.booleans()) else inner, random_norm(4), shared]
    pool = draw(st.sampled_from([nn.Identity(), nn.MaxPool2d(2), nn.AvgPool2d(2)]))
    return nn.Sequential(nn.Conv2d(4, 4, 1), *blocks, pool).eval()


@given(networks(), st.sampled_from([torch.contiguous_format, torch.channels_last]), st.booleans())
@settings(max_examples=25)
def test_networks_train_as_before_to_the_last_bit(
    model: nn.Module, form: torch.memory_format, traced: bool
) -> None:
    """Equal up to rounding where a convolution computes a trained normalisation after it."""
    keys = list(model.state_dict())
    model = (fx.symbolic_trace(model) if traced else model).to(memory_format=form)
    twin = copy.deepcopy(model)
    lean_(twin)
    assert any(isinstance(layer, LEAN) for layer in twin.modules())
    assert list(twin.state_dict()) == keys
    (images,) = batch(3, 4, 6, 6)()
    paired = any(isinstance(layer, CompressedConvNorm2d) for layer in twin.modules())
    check = assert_all_close if paired else assert_all_equal
    check(model, twin, [images.contiguous(memory_format=form)])
    step(twin, batch(3, 4, 6, 6))  # the meters agree
    unlean_(twin)
    assert types(twin) == types(model)
    assert list(twin.state_dict()) == keys


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_nothing(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3), random_norm(4), nn.ReLU6(inplace=True))
    model = model.append(nn.Conv2d(4, 4, 1)).append(nn.ReLU())
    twin = copy.deepcopy(model)
    lean_(twin)
    with torch.autocast("cpu", dtype=dtype):
        assert_all_equal(model, twin, batch(4, 4, 9, 9)())


def test_one_in_place_activation_in_a_residual_block_stays_one() -> None:
    """Called twice, after a normalisation and after the sum of a shortcut."""
    model = Residual().eval()
    twin = copy.deepcopy(model)
    assert lean_(twin).replaced == ("bn1", "relu", "bn2")
    assert_all_equal(model, twin, batch(4, 4, 9, 9)())
    bits = 4 * 4 * 9 * 9 // 8
    found = categories(step(twin, batch(4, 4, 9, 9), ["conv1", "conv2"]))
    assert found == {"trained layer inputs": 2 * 4 * 8 * bits, "activation functions": 2 * bits}


def test_a_layer_with_two_names_stays_one() -> None:
    relu, norm = nn.ReLU(), random_norm(4)
    model = nn.Sequential(nn.Conv2d(4, 4, 1), norm, relu, nn.Sequential(norm, relu))
    twin = copy.deepcopy(model)
    assert lean_(twin).replaced == ("1", "2", "3.0", "3.1")
    assert twin[1] is twin[3][0]
    assert twin[2] is twin[3][1]
    assert_all_equal(model, twin, batch(4, 4, 5, 5)())
    unlean_(twin)
    assert type(twin[2]) is nn.ReLU
    assert twin[2] is twin[3][1]


def test_only_the_named_layers_are_replaced() -> None:
    model = fx.symbolic_trace(nn.Sequential(nn.ReLU(), nn.ReLU(), nn.GELU(), Functional()))
    report = lean_(model, ["1", "2"])
    assert report.replaced == ("1",)
    assert list(report.kept) == ["2"]
    assert type(model.get_submodule("0")) is nn.ReLU
    assert F.relu in [node.target for node in model.graph.nodes]


def test_invalid_layer_names_are_reported() -> None:
    with pytest.raises(InvalidInput, match="'head'"):
        lean_(nn.Sequential(nn.ReLU()), ["head"])
    with pytest.raises(InvalidInput, match=r"got ReLU: put it into nn\.Sequential"):
        lean_(nn.ReLU())


def test_a_second_call_changes_nothing() -> None:
    model = nn.Sequential(nn.ReLU(), random_norm(4))
    assert lean_(model).replaced == ("0", "1")
    layers = list(model)
    report = lean_(model)
    assert report.replaced == ()
    assert report.kept == {}
    assert list(model) == layers
