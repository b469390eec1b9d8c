"""Layers with a forward pass of their own: timm's, parametrised ones, and those of a user."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame, ScaledStdConv2d, StdConv2dSame
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.compression.verbs import measure
from asi_core.errors import Unsupported
from asi_core.layers.own_forward import OwnForward
from asi_core.layers.surgery import compress_, restore_
from asi_core.methods import ASI


class Doubled(nn.Linear):
    """Its product is called by keyword, and something follows it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(weight=2 * self.weight, input=x, bias=self.bias) + x.mean()


class Twice(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.weight), self.weight)


class Itself(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T


IMAGES, ROWS = (3, 4, 9, 9), (5, 7, 4)


def layers() -> list[Any]:
    torch.manual_seed(0)
    return [
        pytest.param(Conv2dSame(4, 6, 3, stride=2), IMAGES, id="padded"),
        pytest.param(Conv2dSame(4, 4, 3, stride=2, groups=4, bias=False), IMAGES, id="depthwise"),
        pytest.param(ScaledStdConv2d(4, 6, 3, padding=1), IMAGES, id="standardised"),
        pytest.param(StdConv2dSame(4, 6, (3, 2), dilation=2), IMAGES, id="both"),
        pytest.param(
            nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3, padding="same")),
            IMAGES,
            id="parametrised",
        ),
        pytest.param(nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)), ROWS, id="orthogonal"),
        pytest.param(Doubled(4, 3), ROWS, id="own"),
    ]


@pytest.mark.parametrize(("layer", "shape"), layers())
def test_output_and_gradients_at_full_rank_are_the_plain_layers(
    layer: nn.Module, shape: tuple[int, ...]
) -> None:
    plain = nn.Sequential(copy.deepcopy(layer), nn.ReLU()).double()
    model = copy.deepcopy(plain)
    compress_(model, ASI(ranks=1000), layers=["0"])
    assert isinstance(model[0], OwnForward)
    results = []
    for one in (plain, model):
        x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        x.requires_grad_()
        output = one(x)
        output.square().sum().backward()
        results.append([output, x.grad, *(p.grad for p in one.parameters())])
    assert torch.equal(results[0][0], results[1][0])
    for expected, found in zip(*results, strict=True):
        assert_close(found, expected)
    assert model.state_dict().keys() == plain.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(model(x), plain(x))
    restore_(model)
    assert type(model[0]) is type(plain[0])


def test_what_is_kept_is_compressed() -> None:
    model = nn.Sequential(Conv2dSame(4, 6, 3, stride=2))
    compress_(model, ASI(ranks=1), layers=1)
    measured = measure(model, torch.randn(IMAGES), lambda m, x: m(x).sum())
    # A core of one number, and a vector for each mode of the input, which is padded from 9 to 11.
    assert measured.layers[0].saved_bytes == 4 * (1 + 3 + 4 + 11 + 11)
    assert measured.layers[0].ranks == (1, 1, 1, 1)


def test_a_frozen_layer_keeps_no_input() -> None:
    layer = Doubled(4, 4)
    model = nn.Sequential(nn.Linear(4, 4), layer)
    compress_(model, ASI(ranks=1), layers=["1"])
    model[1].weight.requires_grad_(False)
    model[1].bias.requires_grad_(False)
    measured = measure(model, torch.randn(ROWS), lambda m, x: m(x).sum())
    kept = {at.name: at.saved_bytes for at in measured.layers}
    assert kept == {"0": 4 * 5 * 7 * 4}


def test_copies_are_layers_of_their_own() -> None:
    model = nn.Sequential(ScaledStdConv2d(4, 6, 3))
    compress_(model, ASI(ranks=2), layers=1)
    x = torch.randn(IMAGES)
    expected = model(x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other[0]) is type(model[0])
        assert torch.equal(other(x), expected)
        assert other[0].memory is not model[0].memory


def test_two_products_in_one_layer_are_refused() -> None:
    model = nn.Sequential(Twice(4, 4))
    compress_(model, ASI(ranks=2), layers=1)
    with pytest.raises(Unsupported, match="a Twice calls more than one product"):
        model(torch.randn(ROWS))


def test_a_product_that_is_no_call_is_reported() -> None:
    model = nn.Sequential(Itself(4, 4))
    compress_(model, ASI(ranks=2), layers=1)
    with pytest.raises(Unsupported, match="layer 0 is never called"):
        model(torch.randn(ROWS)).sum().backward()


def test_under_autocast_the_lower_precision_is_kept() -> None:
    model = nn.Sequential(Doubled(4, 4))
    compress_(model, ASI(ranks=1000), layers=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(torch.randn(ROWS))
    assert output.dtype is torch.bfloat16 or output.dtype is torch.float32
    output.float().sum().backward()
    assert model[0].weight.grad.dtype is torch.float32
