"""Ranks and warm starts with unusual batches: small, zero, not finite, hardly compressible."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.costs.measurement import SavedBytes
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.surgery import compress_
from asi_core.layers.warm_starts import load_warm_starts_, warm_starts
from asi_core.methods import ASI, HOSVD, Method
from asi_core.methods.costs import ranks_below_input, tucker_bytes

BAD = [float("nan"), float("inf"), float("-inf")]


def layer(method: Method, channels: int = 16, kernel_size: int = 3) -> CompressedLayer:
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 8, kernel_size, padding=kernel_size // 2)
    model = nn.Sequential(conv)
    compress_(model, method, layers=1)
    found = model[0]
    assert isinstance(found, CompressedLayer)
    return found


def images(batch: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 16, 8, 8, generator=generator)


def gradient(conv: CompressedLayer, x: Tensor) -> Tensor:
    conv.zero_grad()
    conv(x).square().mean().backward()
    assert conv.weight.grad is not None
    return conv.weight.grad


# Ranks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [1, 2, 40])
def test_given_ranks_are_those_of_every_batch(first: int) -> None:
    conv = layer(ASI(ranks=(16, 8, 4, 4)))
    conv(images(first))
    conv(images(32))
    assert conv.ranks == (16, 8, 4, 4)
    assert conv.memory.ranks is None, "they are settings of the method"


def test_full_ranks_stay_full_after_a_small_batch() -> None:
    conv = layer(ASI(ranks=64))
    gradient(conv, images(2))
    found = gradient(conv, images(64))
    plain = conv.to_plain()
    plain.zero_grad()
    plain(images(64)).square().mean().backward()
    assert_close(found, plain.weight.grad)


def test_a_warm_start_of_other_ranks_does_not_change_the_given_ones() -> None:
    low, high = layer(ASI(ranks=2)), layer(ASI(ranks=6))
    low(images(8))
    load_warm_starts_(high, {**warm_starts(low), "warm_start.ranks": torch.tensor((2, 2, 2, 2))})
    high(images(8))
    assert high.ranks == (6, 6, 6, 6)


@pytest.mark.parametrize("unfit", [torch.zeros(8, 16, 8, 8), *(images(8) * bad for bad in BAD)])
def test_ranks_are_found_on_the_first_batch_that_is_finite_and_not_zero(unfit: Tensor) -> None:
    conv = layer(ASI(explained_variance=0.8))
    conv(unfit)
    conv(images(8))
    assert conv.ranks == layer_ranks(ASI(explained_variance=0.8))
    conv(images(8) + 5)
    assert conv.ranks == layer_ranks(ASI(explained_variance=0.8))


def layer_ranks(method: Method) -> tuple[int, ...] | None:
    fresh = layer(method)
    fresh(images(8))
    return fresh.ranks


@pytest.mark.parametrize("share", [0.99, 1.0])
@pytest.mark.parametrize("method", [ASI, HOSVD])
def test_no_share_keeps_more_than_the_input(method: type[ASI | HOSVD], share: float) -> None:
    """512 channels of 8 x 4 x 4 values each have at most 128 directions, whose factor is large."""
    conv = layer(method(explained_variance=share), 512, 1)
    x = torch.randn(8, 512, 4, 4).relu()
    with SavedBytes(conv) as meter:
        output = conv(x)
    assert meter.total == x.nbytes
    assert conv.ranks == tuple(x.shape)
    output.square().sum().backward()
    plain = conv.to_plain()
    expected = torch.autograd.grad(plain(x).square().sum(), plain.weight)[0]
    assert_close(conv.weight.grad, expected)


def test_only_ranks_that_cost_more_than_the_input_are_replaced() -> None:
    sizes = (8, 512, 4, 4)
    assert ranks_below_input((8, 128, 4, 4), sizes) == sizes
    assert tucker_bytes(sizes, (8, 25, 4, 4), "exact") < 4 * 8 * 512 * 16
    assert ranks_below_input((8, 25, 4, 4), sizes) == (8, 25, 4, 4)


# Warm starts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("sequential", [True, False])
def test_a_batch_that_is_not_finite_leaves_the_warm_start(bad: float, sequential: bool) -> None:
    method = ASI(ranks=(4, 4, 4, 4), sequential=sequential, update="every_step")
    hurt, spared = layer(method), layer(method)
    for conv in (hurt, spared):
        gradient(conv, images(8))
    poisoned = images(8, seed=1)
    poisoned[0, 0, 0, 0] = bad
    assert not bool(gradient(hurt, poisoned).isfinite().all())
    after = [gradient(conv, images(8, seed=2)) for conv in (hurt, spared)]
    assert bool(after[0].isfinite().all())
    assert torch.equal(after[0], after[1])


def test_factors_except_the_batchs_stay_between_refreshes() -> None:
    conv = layer(ASI(ranks=(4, 4, 4, 4), refresh_every=3))
    steps = []
    for seed in range(8):
        conv(images(16, seed))
        steps.append(dict(conv.memory.factors))
    for step in range(1, 8):
        same = [torch.equal(steps[step][mode], steps[step - 1][mode]) for mode in range(4)]
        assert same == [False] + 3 * [step % 3 != 0]


def test_a_restored_layer_refreshes_when_it_would_have() -> None:
    one = layer(ASI(ranks=(4, 4, 4, 4), refresh_every=3))
    for seed in range(2):
        one(images(16, seed))
    other = layer(ASI(ranks=(4, 4, 4, 4), refresh_every=3))
    other.load_state_dict(one.state_dict())
    load_warm_starts_(other, warm_starts(one))
    for seed in range(2, 6):
        assert torch.equal(gradient(one, images(16, seed)), gradient(other, images(16, seed)))


def test_refreshing_seldom_keeps_nearly_the_energy() -> None:
    """On batches that share a subspace of the channels, as a network's layers do."""
    basis = torch.randn(4, 16, generator=torch.Generator().manual_seed(9))

    def batch(seed: int) -> Tensor:
        drawn = images(16, seed)
        return drawn / 10 + torch.einsum("bkhw,kc->bchw", drawn[:, :4], basis)

    energies = []
    for every in (1, 4):
        method = ASI(ranks=(16, 4, 8, 8), refresh_every=every, update="every_step")
        conv = layer(method)
        kept = []
        for seed in range(12):
            x = batch(seed)
            core = conv.compress(x, (16, 8, 8, 8))[0]
            assert core is not None
            kept.append(float(core.square().sum() / x.square().sum()))
        energies.append(sum(kept[4:]) / 8)
    assert energies[0] - 0.01 < energies[1] <= energies[0]


def test_a_warm_start_that_misses_the_input_restarts_immediately() -> None:
    """The energy of the first batch is in two channels only, that of the second in all others."""
    warm, cold = (layer(ASI(ranks=(8, 2, 8, 8)), kernel_size=1) for _ in range(2))
    first, second = images(8), images(8, seed=1)
    first[:, 2:] = 0
    second[:, :2] = 0
    gradient(warm, first)
    found = gradient(warm, second)
    assert float(found.norm()) > 0
    assert torch.equal(found, gradient(cold, second))


def test_a_batch_of_zeros_ends_the_warm_start() -> None:
    """The factors of zeros are the first columns of the identity, which may miss the next input."""
    conv = layer(ASI(ranks=(8, 4, 8, 8)), kernel_size=1)
    gradient(conv, images(8))
    gradient(conv, torch.zeros(8, 16, 8, 8))
    assert conv.memory.factors == {}
    x = images(8, seed=1)
    x[:, :4] = 0
    assert torch.equal(
        gradient(conv, x), gradient(layer(ASI(ranks=(8, 4, 8, 8)), kernel_size=1), x)
    )


def test_tiny_inputs_stay_warm() -> None:
    conv = layer(ASI(ranks=4))
    for seed in range(2):
        conv(images(8, seed) * 1e-25)
    assert set(conv.memory.factors) == {0, 1, 2, 3}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(
    "method",
    [
        HOSVD(ranks=4),
        HOSVD(explained_variance=0.8),
        HOSVD(explained_variance=0.8, solver="svd"),
        ASI(explained_variance=0.8),
    ],
    ids=str,
)
def test_a_batch_that_is_not_finite_goes_through_as_it_does_plainly(
    method: Method, bad: float
) -> None:
    conv, x = layer(method), images(8)
    x[0, 0, 0, 0] = bad
    found = gradient(conv, x)
    assert not bool(found.isfinite().all())
    assert bool(gradient(conv, images(8)).isfinite().all())
