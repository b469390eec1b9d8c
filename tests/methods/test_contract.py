"""What every registered method must hold, whatever it does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.costs.measurement import SavedBytes
from asi_core.errors import Unsupported
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.shapes import layer_shape
from asi_core.layers.surgery import compress_, restore_
from asi_core.methods import METHOD_ADAPTER, METHODS, Method

# Settings to test each method with; a new method adds a line.
SMALL: dict[str, dict[str, Any]] = {
    "vanilla": {},
    "asi": {"ranks": [2, 3, 2, 2]},
    "hosvd": {"ranks": [2, 3, 2, 2]},
    "gradient_filter": {"patch": 2},
    "eight_bit": {},
    "checkpointing": {},
}
# Settings at which nothing is lost, and the kernel sizes for which that is so.
LOSSLESS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "vanilla": ({}, (1, 3)),
    "asi": ({"ranks": 1000}, (1, 3)),
    "hosvd": ({"explained_variance": 1.0}, (1, 3)),
    "gradient_filter": ({"patch": 1}, (1,)),
}
# What loses something at all settings; tested in a file of its own.
LOSSY = {"eight_bit"}
GEOMETRIES: list[dict[str, Any]] = [
    {"kernel_size": 1},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 3, "padding": "same", "dilation": 2},
    {"kernel_size": 3, "padding": 1, "groups": 6},
    {"kernel_size": 3, "padding": (0, 1), "groups": 2, "stride": (1, 2)},
    {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
]
# What repeats blocks replaces no layer: `tests/training/test_checkpointing.py`.
KINDS = sorted(kind for kind in METHODS if not METHODS[kind].repeats_blocks)
# Settings for linear layers on batch x tokens x features; a method that refuses them has None.
LINEAR: dict[str, dict[str, Any] | None] = {
    "vanilla": {},
    "asi": {"ranks": [2, 3, 4]},
    "hosvd": {"ranks": [2, 3, 4]},
    "gradient_filter": None,
    "eight_bit": {},
}
ON_LINEAR = sorted(kind for kind, settings in LINEAR.items() if settings is not None)


def method(kind: str, settings: dict[str, Any]) -> Method:
    return METHOD_ADAPTER.validate_python({"kind": kind, **settings})


def network(**geometry: Any) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 12, **geometry)).double()


def images() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(4, 3, 8, 8, dtype=torch.float64)


def test_every_registered_method_is_tested() -> None:
    assert set(SMALL) == set(METHODS)
    assert set(LOSSLESS) | LOSSY == set(LINEAR) == set(KINDS)


def tokens(dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(5, 7, 6, dtype=dtype)


def perceptron(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3)).to(dtype)


@pytest.mark.parametrize("kind", [kind for kind in ON_LINEAR if kind not in LOSSY])
def test_nothing_lost_means_vanillas_gradients_of_linear_layers(kind: str) -> None:
    plain, compressed = perceptron(), perceptron()
    compress_(compressed, method(kind, LOSSLESS[kind][0]), layers=["0", "2"])
    for model in (plain, compressed):
        model(tokens()).square().sum().backward()
    for expected, found in zip(plain.parameters(), compressed.parameters(), strict=True):
        assert_close(found.grad, expected.grad, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", ON_LINEAR)
def test_linear_layers_keep_the_same_promises(kind: str) -> None:
    """Forward bit for bit, formula bytes measured, and plain layers again."""
    plain, compressed = perceptron(), perceptron()
    compress_(compressed, method(kind, LINEAR[kind] or {}), layers=["0", "2"])
    assert torch.equal(plain(tokens()), compressed(tokens()))
    model = nn.Sequential(nn.Linear(6, 8))
    tested = method(kind, LINEAR[kind] or {})
    compress_(model, tested, layers=["0"])
    x = tokens(torch.float32)
    with SavedBytes(model) as meter:
        output = model(x)
    shape = layer_shape("0", model[0], x, output)
    ranks = model[0].ranks if isinstance(model[0], CompressedLayer) else None
    assert meter.total == tested.saved_bytes(shape, ranks, "exact")
    restore_(model)
    assert type(model[0]) is nn.Linear


@pytest.mark.parametrize("kind", [kind for kind in KINDS if LINEAR[kind] is None])
def test_a_method_that_means_nothing_for_a_layer_says_so(kind: str) -> None:
    model = perceptron()
    with pytest.raises(Unsupported, match=r"layer 2 is a Linear: .*tokens"):
        compress_(model, method(kind, SMALL[kind]), layers=["2"])
    assert type(model[2]) is nn.Linear


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_forward_is_vanillas_bit_for_bit(kind: str, geometry: dict[str, Any]) -> None:
    plain, compressed = network(**geometry), network(**geometry)
    compress_(compressed, method(kind, SMALL[kind]), layers="all")
    assert torch.equal(plain(images()), compressed(images()))


@pytest.mark.parametrize(
    ("kind", "geometry"),
    [(k, g) for k in LOSSLESS for g in GEOMETRIES if g["kernel_size"] in LOSSLESS[k][1]],
    ids=str,
)
def test_nothing_lost_means_vanillas_gradients(kind: str, geometry: dict[str, Any]) -> None:
    settings, _ = LOSSLESS[kind]
    plain, compressed = network(**geometry), network(**geometry)
    compress_(compressed, method(kind, settings), layers="all")
    for model in (plain, compressed):
        model(images()).square().sum().backward()
    for expected, found in zip(plain.parameters(), compressed.parameters(), strict=True):
        assert_close(found.grad, expected.grad, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    ("kind", "geometry"),
    # PyTorch's own padding keeps its input besides: the formula counts what a convolution meets.
    [(k, g) for k in KINDS for g in GEOMETRIES if k != "vanilla" or "padding_mode" not in g],
    ids=str,
)
def test_closed_form_bytes_are_measured_bytes(kind: str, geometry: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(6, 12, **geometry))
    tested = method(kind, SMALL[kind])
    compress_(model, tested, layers=1)
    x = torch.randn(4, 6, 9, 9)
    with SavedBytes(model) as meter:
        output = model(x)
    shape = layer_shape("0", model[0], x, output)  # type: ignore[arg-type]
    ranks = model[0].ranks if isinstance(model[0], CompressedLayer) else None
    assert meter.total == tested.saved_bytes(shape, ranks, "exact")


@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_takes_the_warm_start_along(kind: str) -> None:
    tested = method(kind, SMALL[kind])
    first, second = network(kernel_size=3), network(kernel_size=3)
    for model in (first, second):
        compress_(model, tested, layers=1)
    first(images()).sum().backward()
    second.load_state_dict(first.state_dict())
    for model in (first, second):
        model.zero_grad()
        model(2 * images() + 1).square().sum().backward()
    for expected, found in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(found.grad, expected.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_saves_nothing(kind: str) -> None:
    model = network(kernel_size=3)
    compress_(model, method(kind, SMALL[kind]), layers="all")
    with torch.no_grad(), SavedBytes(model) as meter:
        model(images())
    assert meter.total == 0
    model.requires_grad_(False)
    with SavedBytes(model) as meter:
        model(images())
    assert meter.total == 0


@pytest.mark.parametrize("kind", KINDS)
def test_restoring_brings_plain_layers_back(kind: str) -> None:
    model = network(kernel_size=3)
    weight = model[1].weight
    compress_(model, method(kind, SMALL[kind]), layers="all")
    model(images()).sum().backward()
    restore_(model)
    assert [type(layer) for layer in model] == [nn.Conv2d, nn.Conv2d]
    assert model[1].weight is weight
    assert set(model.state_dict()) == set(network(kernel_size=3).state_dict())


@pytest.mark.parametrize("kind", sorted(METHODS))
@pytest.mark.parametrize("convention", ["paper", "exact"])
def test_counts_are_positive_integers(kind: str, convention: Any) -> None:
    conv = nn.Conv2d(6, 12, 3, padding=1)
    x = torch.randn(4, 6, 9, 9, requires_grad=True)
    shape = layer_shape("conv", conv, x, conv(x))
    tested = method(kind, SMALL[kind])
    macs = tested.macs(shape, tested.ranks_for(shape), convention)
    assert macs.total == macs.forward + macs.overhead + macs.backward
    assert all(isinstance(part, int) and part >= 0 for part in macs.as_dict().values())
    assert macs.forward > 0
    assert macs.backward > 0


@pytest.mark.parametrize("kind", sorted(METHODS))
def test_settings_survive_json(kind: str) -> None:
    tested = method(kind, SMALL[kind])
    assert METHOD_ADAPTER.validate_json(tested.model_dump_json()) == tested
