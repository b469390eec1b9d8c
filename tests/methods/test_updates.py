"""Factors that are updated one step late, or when they no longer fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from asi_core.costs.measurement import SavedBytes
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.surgery import compress_
from asi_core.layers.warm_starts import load_warm_starts_, warm_starts
from asi_core.layers.watching import watched
from asi_core.linalg.spectra import captured_energy, principal_angles
from asi_core.linalg.unfolding import orthonormal
from asi_core.methods import ASI, as_method
from asi_core.methods.updates import Update
from asi_core.training.probes import probe_layers
from tests.methods.test_ranks_and_warm_starts import gradient, images, layer

UPDATES: tuple[Update, ...] = ("one_step_late", "when_needed")
BOTH = pytest.mark.parametrize("update", UPDATES)


def asi(update: Update, **settings: Any) -> ASI:
    return ASI.model_validate({"ranks": (4, 4, 4, 4), "update": update, **settings})


def similar(seed: int, batch: int = 16, basis_seed: int = 9) -> Tensor:
    """Batches that share a subspace of the channels, as a network's layers do."""
    basis = torch.randn(4, 16, generator=torch.Generator().manual_seed(basis_seed))
    drawn = images(batch, seed)
    return drawn / 10 + torch.einsum("bkhw,kc->bchw", drawn[:, :4], basis)


def energy(conv: CompressedLayer, x: Tensor) -> float:
    core = conv.compress(x, (len(x), 8, *x.shape[2:]))[0]
    assert core is not None
    return float(core.square().sum() / x.square().sum())


@pytest.mark.parametrize("other", [{"sequential": False}, {"refresh_every": 2}])
@BOTH
def test_they_are_iterated_one_mode_after_the_other(update: Update, other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="one mode after the other"):
        asi(update, **other)


def test_other_settings_of_an_update_at_every_step_imply_it() -> None:
    assert ASI(ranks=2).update == "when_needed"
    for given in ({"sequential": False}, {"refresh_every": 2}):
        found = ASI.model_validate({"ranks": 2, **given})
        assert found.update == "every_step"
        assert "every step" not in found.settings_label
        assert as_method(given, like=ASI(ranks=2)) == found
        assert ASI.model_validate_json(found.model_dump_json()) == found
    assert ASI(ranks=2, update="every_step").settings_label == "ASI, rank 2, every step"


@BOTH
@pytest.mark.parametrize("bits", [32, 16, 8])
def test_the_gradient_is_that_of_the_projected_input(update: Update, bits: int) -> None:
    """In double precision, from the factors of the latest step."""
    conv = layer(asi(update, bits=bits))
    for seed in range(7):
        found = gradient(conv, x := similar(seed)).clone()
    projected = x.double()
    for mode, factor in enumerate(conv.method.factors(x, conv.memory) or ()):
        assert factor is not None
        onto = factor.double() @ factor.double().T
        projected = torch.tensordot(onto, projected, dims=([1], [mode])).movedim(0, mode)
    plain = conv.to_plain().double()
    output = plain(x.double()).detach()
    grad_output = 2 * output / output.numel()
    (expected,) = torch.autograd.grad(plain(projected), plain.weight, grad_output)
    tolerance = {32: 1e-5, 16: 5e-3, 8: 5e-2}[bits] * float(expected.abs().max())
    assert_close(found.double(), expected, atol=tolerance, rtol=0)


# One step late --------------------------------------------------------------------------------


def test_channels_are_projected_on_the_factor_of_the_step_before() -> None:
    conv = layer(asi("one_step_late"))
    conv(similar(0))
    for seed in range(1, 5):
        before = conv.memory.factors[1]
        conv(x := similar(seed))
        used = conv.method.factors(x, conv.memory)
        assert used is not None
        assert used[1] is before
        assert conv.memory.used[1] is before
        assert conv.memory.factors[1] is not before
        assert set(conv.memory.factors) == {0, 1, 2, 3}


def test_both_channel_factors_are_kept() -> None:
    conv = layer(asi("one_step_late"))
    kept = 4 * (4**4 + 4 * (16 + 16 + 8 + 8) + 4 * 16)
    for seed in range(2):
        with SavedBytes(nn.Sequential(conv)) as meter:
            output = conv(similar(seed))
        assert meter.total == kept
        output.sum().backward()


def test_channels_at_full_rank_are_not_late() -> None:
    late = layer(asi("one_step_late", ranks=(4, 16, 4, 4)))
    usual = layer(asi("every_step", ranks=(4, 16, 4, 4)))
    for seed in range(3):
        assert torch.equal(gradient(late, similar(seed)), gradient(usual, similar(seed)))
    assert late.memory.used == {}


def test_linear_layers_project_their_features_late() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 6))
    compress_(model, ASI(ranks=(8, 3, 4), update="one_step_late"), layers=["0"])
    for _ in range(3):
        model(torch.randn(16, 5, 24)).sum().backward()
    assert model[0].memory.used[2].shape == (24, 4)


# When needed ----------------------------------------------------------------------------------


def test_factors_but_the_batchs_stay_while_they_fit() -> None:
    conv = layer(asi("when_needed", ranks=(4, 4, 8, 8)))
    for seed in range(4):
        conv(similar(seed))
    kept = dict(conv.memory.factors)
    for seed in range(4, 12):
        conv(similar(seed))
        assert conv.memory.factors[1] is kept[1]
        assert conv.memory.factors[0] is not kept[0]


@pytest.mark.parametrize("update", ["every_step", *UPDATES])
def test_after_the_warm_up_all_similar_steps_iterate_the_same(
    update: Update, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what times one step can wait for one that is as long as all that follow."""
    method = asi(update, ranks=(4, 4, 8, 8))
    conv, count = layer(method), 0

    def counted(matrix: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return orthonormal(matrix)

    monkeypatch.setattr("asi_core.linalg.tucker.orthonormal", counted)
    work = []
    for _ in range(12):
        count = 0
        conv.compress(similar(0), (16, 8, 8, 8))
        work.append(count)
    settled = work[method.warm_up_steps :]
    assert len(set(settled)) == 1, work


def test_factors_that_no_longer_fit_are_iterated_again() -> None:
    conv = layer(asi("when_needed", ranks=(16, 4, 8, 8)))
    for seed in range(6):
        fitting = energy(conv, similar(seed))
    missed = energy(conv, similar(6, basis_seed=1))
    for seed in range(7, 13):
        found = energy(conv, similar(seed, basis_seed=1))
    assert missed < 0.8 * fitting
    assert found > 0.95 * fitting
    kept = dict(conv.memory.factors)
    energy(conv, similar(13, basis_seed=1))
    assert conv.memory.factors[1] is kept[1]


def test_a_mode_that_restarts_settles_again() -> None:
    """A batch of one has only three directions of channels in 1 x 3 pixels."""
    conv = layer(ASI(ranks=(16, 4, 8, 8), update="when_needed"), kernel_size=1)
    for seed in range(6):
        conv(similar(seed))
    conv(similar(6, batch=1)[:, :, :1, :3])
    conv(similar(7))
    assert conv.memory.age == 1
    factors = dict(conv.memory.factors)
    conv(similar(8))
    assert conv.memory.factors[1] is not factors[1]


def test_quantised_factors_are_not_quantised_again() -> None:
    conv = layer(asi("when_needed", ranks=(4, 4, 8, 8), bits=8))
    for seed in range(5):
        conv(similar(seed))
    kept = conv.memory.factors[1]
    conv(similar(5))
    assert conv.memory.factors[1] is kept


# Both -----------------------------------------------------------------------------------------


@BOTH
def test_similar_batches_keep_nearly_the_energy_of_iterating_at_every_step(update: Update) -> None:
    kept = {}
    for each in ("every_step", update):
        conv = layer(ASI(ranks=(16, 4, 8, 8), update=each))
        energies = [energy(conv, similar(seed)) for seed in range(12)]
        kept[each] = sum(energies[4:]) / 8
    assert kept[update] > kept["every_step"] - 0.01


@BOTH
@pytest.mark.parametrize("bits", [32, 8])
def test_a_restored_layer_continues_with_the_same_numbers(update: Update, bits: int) -> None:
    method = asi(update, bits=bits)
    one, other = layer(method), layer(method)
    for seed in range(6):
        one(similar(seed))
    # The next step iterates again.
    one(similar(6, basis_seed=1))
    other.load_state_dict(one.state_dict())
    load_warm_starts_(other, warm_starts(one))
    for seed in range(7, 13):
        x = similar(seed, basis_seed=1)
        assert torch.equal(gradient(one, x), gradient(other, x))
    assert one.memory.age == other.memory.age
    assert one.memory.energy == other.memory.energy


@BOTH
def test_a_checkpoint_repeats_the_step(update: Update) -> None:
    method = asi(update)
    plain, repeated = layer(method), layer(method)
    for seed in range(6):
        x = similar(seed)
        expected = gradient(plain, x)
        repeated.zero_grad()
        checkpoint(repeated, x, use_reentrant=False).square().mean().backward()
        assert torch.equal(repeated.weight.grad, expected)
        assert repeated.memory.age == plain.memory.age


@BOTH
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_batch_that_is_not_finite_leaves_the_warm_start(update: Update, bad: float) -> None:
    hurt, spared = layer(asi(update)), layer(asi(update))
    for conv in (hurt, spared):
        gradient(conv, similar(0))
    poisoned = similar(1)
    poisoned[0, 0, 0, 0] = bad
    gradient(hurt, poisoned)
    after = [gradient(conv, similar(2)) for conv in (hurt, spared)]
    assert torch.equal(*after)


@BOTH
def test_a_warm_start_that_misses_the_input_restarts_immediately(update: Update) -> None:
    warm, cold = (layer(asi(update, ranks=(8, 2, 8, 8)), kernel_size=1) for _ in range(2))
    first, second = images(8), images(8, seed=1)
    first[:, 2:] = 0
    second[:, :2] = 0
    gradient(warm, first)
    # One step late, the second factor knows the first batch.
    gradient(warm, first)
    assert torch.equal(gradient(warm, second), gradient(cold, second))


@BOTH
def test_a_batch_of_zeros_ends_the_warm_start(update: Update) -> None:
    conv = layer(asi(update))
    gradient(conv, similar(0))
    gradient(conv, torch.zeros(16, 16, 8, 8))
    assert (conv.memory.factors, conv.memory.used, conv.memory.energy) == ({}, {}, None)
    assert torch.equal(gradient(conv, similar(1)), gradient(layer(asi(update)), similar(1)))


@BOTH
def test_batches_of_other_sizes_and_micro_batches_go_on(update: Update) -> None:
    conv = layer(asi(update))
    for seed, batch in enumerate((16, 16, 5, 1, 16, 8, 8)):
        assert bool(gradient(conv, similar(seed, batch=batch)).isfinite().all())
    assert conv.memory.factors[0].shape == (8, 4)
    assert conv.memory.factors[1].shape == (16, 4)


@BOTH
def test_tiny_inputs_stay_warm(update: Update) -> None:
    conv = layer(asi(update))
    for seed in range(6):
        conv(similar(seed) * 1e-25)
    assert set(conv.memory.factors) == {0, 1, 2, 3}


def test_probes_tell_what_was_projected_on_and_how_far_the_next_factor_turned() -> None:
    conv = layer(asi("one_step_late"))
    model = nn.Sequential(conv)
    model(similar(0)).sum().backward()
    with watched(model, ["0"]) as notes:
        model(x := similar(1)).square().sum().backward()
    (probe,) = probe_layers(model, notes)
    used = conv.method.factors(x, conv.memory)
    assert used is not None
    assert probe.captured_energy == pytest.approx(captured_energy(x, used))
    assert probe.drift_degrees is not None
    turned = max(principal_angles(conv.memory.used[1], conv.memory.factors[1]))
    assert probe.drift_degrees[1] == pytest.approx(turned)
    assert turned > 0
