"""Fixed subspaces compared with the equations: one HOSVD, and the gradient of a projected input."""

from __future__ import annotations

from typing import Any

import pytest
import tensorly
import torch
from tensorly.tenalg import multi_mode_dot
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.costs.measurement import SavedBytes
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.surgery import compress_
from asi_core.methods import FixedSubspace

CONVOLUTIONS: list[dict[str, Any]] = [
    {"kernel_size": 3, "padding": 1, "stride": 2},
    {"kernel_size": 1},
    {"kernel_size": 3, "groups": 4},
]


@pytest.fixture(autouse=True)
def torch_backend() -> None:
    tensorly.set_backend("pytorch")


def compressed(layer: nn.Module, **settings: Any) -> Any:
    model = nn.Sequential(layer.double())
    compress_(model, FixedSubspace(**settings), layers=["0"], lean=False)
    found = model[0]
    assert isinstance(found, CompressedLayer)
    return found


def images(seed: int, batch: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 8, 7, 6, generator=generator, dtype=torch.float64)


def gradient(layer: Any, x: Tensor) -> Tensor:
    layer.zero_grad()
    layer(x).square().sum().backward()
    found: Tensor = layer.weight.grad
    return found


def projected(x: Tensor, first: Tensor, ranks: tuple[int, ...]) -> Tensor:
    """`x` on the leading left singular vectors of the first batch, in all modes but the batch's."""
    bases = {
        mode: torch.linalg.svd(tensorly.unfold(first, mode), full_matrices=False)[0][:, :rank]
        for mode, rank in enumerate(ranks)
        if mode
    }
    projectors = [basis @ basis.T for basis in bases.values()]
    found: Tensor = multi_mode_dot(x, projectors, list(bases))
    return found


@pytest.mark.parametrize("geometry", CONVOLUTIONS, ids=str)
def test_gradients_are_those_of_inputs_on_the_first_batchs_subspaces(
    geometry: dict[str, Any],
) -> None:
    layer = compressed(nn.Conv2d(8, 4, **geometry), ranks=(2, 3, 4, 5))
    for seed, batch in ((0, 6), (1, 6), (2, 9)):
        x = images(seed, batch)
        met = projected(x, images(0), (2, 3, 4, 5))
        output = layer(x).detach()
        plain = layer.to_plain()
        (expected,) = torch.autograd.grad(plain(met), plain.weight, 2 * output)
        assert_close(gradient(layer, x), expected)
        assert layer.ranks == (batch, 3, 4, 5)


def test_a_linear_layers_tokens_are_projected_alike() -> None:
    layer, x = compressed(nn.Linear(6, 3), ranks=2), images(1)
    gradient(layer, images(0))
    met = projected(x, images(0), (2, 2, 2, 2))
    expected = (2 * layer(x).detach()).flatten(0, -2).T @ met.flatten(0, -2)
    assert_close(gradient(layer, x), expected)


def test_an_explained_variance_is_that_of_the_first_batch() -> None:
    layer = compressed(nn.Conv2d(8, 4, 1), explained_variance=0.7)
    for seed in range(3):
        gradient(layer, images(seed))
    for mode, rank in list(enumerate(layer.ranks))[1:]:
        energy = torch.linalg.svdvals(tensorly.unfold(images(0), mode)).square().cumsum(0)
        assert energy[rank - 1] >= 0.7 * energy[-1] > (energy[rank - 2] if rank > 1 else 0)
    assert layer.ranks[0] == 6


def test_factors_stay_the_same_tensors_and_are_counted_once() -> None:
    layer = compressed(nn.Conv2d(8, 4, 1), ranks=(2, 3, 4, 5))
    gradient(layer, images(0))
    factors = dict(layer.memory.factors)
    with SavedBytes(layer) as meter:
        layer(images(1))
    assert all(layer.memory.factors[mode] is factor for mode, factor in factors.items())
    assert meter.total == 8 * (6 * 3 * 4 * 5 + 8 * 3 + 7 * 4 + 6 * 5)


@pytest.mark.parametrize("bad", [float("nan"), 0.0])
def test_a_first_batch_without_directions_fixes_nothing(bad: float) -> None:
    layer = compressed(nn.Conv2d(8, 4, 1), explained_variance=0.7)
    fresh = compressed(nn.Conv2d(8, 4, 1), explained_variance=0.7)
    fresh.load_state_dict(layer.state_dict())
    gradient(layer, images(5) * bad)
    assert layer.memory.factors == {}
    for seed in range(2):
        assert_close(gradient(layer, images(seed)), gradient(fresh, images(seed)))


def test_a_larger_batch_or_image_gets_the_rest_of_the_given_ranks() -> None:
    layer = compressed(nn.Conv2d(8, 4, 1), ranks=(1, 7, 2, 2))
    gradient(layer, images(0, batch=1)[:, :, :2, :2])
    assert layer.ranks == (1, 4, 2, 2)
    gradient(layer, images(1))
    assert layer.ranks == (6, 7, 2, 2)
