from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from asi_core.errors import InvalidInput, Unsupported
from asi_core.layers.conv import CompressedConv2d
from asi_core.layers.surgery import compress_, trained_layer_names
from asi_core.linalg.spectra import captured_energy
from asi_core.linalg.tucker import hosvd
from asi_core.methods import ASI, HOSVD, Vanilla


def layer(method: ASI | HOSVD) -> CompressedConv2d:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(6, 4, 3, padding=1))
    compress_(model, method, layers=1)
    assert isinstance(model[0], CompressedConv2d)
    return model[0]


def images(batch: int = 8) -> Tensor:
    torch.manual_seed(1)
    return torch.relu(torch.randn(batch, 6, 7, 7))


def test_the_second_step_starts_where_the_first_ended() -> None:
    conv, x = layer(ASI(ranks=(3, 3, 3, 3))), images()
    best = captured_energy(x, hosvd(x, ranks=(3, 3, 3, 3)).factors)
    energies = []
    for _ in range(8):
        conv(x)
        energies.append(captured_energy(x, [conv.memory.factors[m] for m in range(4)]))
    assert energies == sorted(energies)
    assert energies[-1] > energies[0]
    assert energies[-1] > 0.98 * best


def test_a_smaller_batch_restarts_the_batch_mode_only() -> None:
    conv = layer(ASI(ranks=(4, 3, 3, 3)))
    conv(images(8))
    kept = conv.memory.factors[1].clone()
    conv(images(8)[:3]).sum().backward()
    assert conv.ranks == (3, 3, 3, 3)
    assert 0 not in conv.memory.factors  # all of a batch of three is kept: no factor is needed
    assert conv.memory.factors[1].shape == kept.shape
    conv(images(8))
    assert conv.ranks == (4, 3, 3, 3)
    assert conv.memory.factors[0].shape == (8, 4)


def test_ranks_from_an_explained_variance_are_found_once() -> None:
    conv = layer(ASI(explained_variance=0.8))
    conv(images())
    first = conv.ranks
    assert first == hosvd(images(), explained_variance=0.8).ranks
    conv(torch.randn(8, 6, 7, 7))
    assert conv.ranks == first


def test_hosvd_finds_its_ranks_at_every_step() -> None:
    conv = layer(HOSVD(explained_variance=0.8))
    conv(images())
    structured = conv.ranks
    conv(torch.randn(8, 6, 7, 7))
    assert conv.ranks != structured


@pytest.mark.parametrize("method", [ASI(ranks=3), HOSVD(explained_variance=0.9)])
def test_dead_channels_and_empty_images_give_finite_gradients(method: ASI | HOSVD) -> None:
    conv, x = layer(method), images()
    x[:, 2:] = 0
    for batch in (x, torch.zeros_like(x), x):
        conv(batch).sum().backward()
        assert conv.weight.grad is not None
        assert bool(torch.isfinite(conv.weight.grad).all())


def test_the_global_generator_is_left_alone() -> None:
    conv, x = layer(ASI(ranks=3)), images()
    state = torch.random.get_rng_state()
    conv(x).sum().backward()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_last_layers_are_those_registered_last() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1))
    assert trained_layer_names(model, 2) == ["2", "3"]
    assert trained_layer_names(model, 0) == []
    assert trained_layer_names(model, "all") == ["0", "2", "3"]
    with pytest.raises(InvalidInput, match=r"between 0 and 3.*got 4"):
        compress_(model, Vanilla(), layers=4)


def test_a_layer_with_its_own_forward_is_refused_and_nothing_is_changed() -> None:
    class Own(nn.Conv2d):
        pass

    model = nn.Sequential(nn.Conv2d(1, 1, 1), Own(1, 1, 1))
    with pytest.raises(Unsupported, match="layer 1 is a Own"):
        compress_(model, ASI(ranks=1), layers=2)
    assert type(model[0]) is nn.Conv2d


def test_compressing_again_changes_the_method() -> None:
    model = nn.Sequential(nn.Conv2d(6, 4, 3))
    compress_(model, ASI(ranks=1), layers=1)
    compress_(model, HOSVD(ranks=2), layers=1)
    assert isinstance(model[0], CompressedConv2d)
    assert model[0].method == HOSVD(ranks=2)
