from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from asi_core.costs.measurement import SavedBytes
from asi_core.errors import InvalidInput, Unsupported
from asi_core.layers.conv import CompressedConv2d
from asi_core.layers.selection import choose_layers
from asi_core.layers.surgery import compress_, restore_
from asi_core.linalg.spectra import captured_energy
from asi_core.linalg.tucker import hosvd
from asi_core.methods import ASI, HOSVD, GradientFilter, Vanilla
from tests.geometries import ConvCase, conv_cases


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


@pytest.mark.parametrize(
    "changed",
    [
        {"padding": (2, 2), "dilation": (2, 2)},
        {"padding": 2, "dilation": 2, "stride": 1},
        {"padding": "same", "dilation": (3, 2)},
        {"padding": "valid"},
    ],
)
def test_a_geometry_that_was_changed_since_is_the_plain_layers(changed: dict[str, Any]) -> None:
    """As when a backbone gets dilation instead of strides."""
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 4, 3, padding=1)
    for name, value in changed.items():
        setattr(plain, name, value)
    conv = CompressedConv2d.from_plain(copy.deepcopy(plain), Vanilla(), seed=0)
    x = images()
    found, expected = conv(x), plain(x)
    assert torch.equal(found, expected)
    for output in (found, expected):
        output.square().mean().backward()
    assert_close(conv.weight.grad, plain.weight.grad)


def test_a_smaller_batch_restarts_the_batch_mode_only() -> None:
    conv = layer(ASI(ranks=(4, 3, 3, 3)))
    conv(images(8))
    kept = conv.memory.factors[1].clone()
    conv(images(8)[:3]).sum().backward()
    assert conv.ranks == (3, 3, 3, 3)
    assert 0 not in conv.memory.factors  # a batch of three is kept in full, without a factor
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
    assert choose_layers(model, 2) == ["2", "3"]
    assert choose_layers(model, 0) == []
    assert choose_layers(model, "all") == ["0", "2", "3"]
    with pytest.raises(InvalidInput, match=r"between 0 and 3.*got 4"):
        compress_(model, Vanilla(), layers=4)


def test_one_layer_that_cannot_be_compressed_leaves_all_as_they_are() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.LazyConv2d(1, 1))
    with pytest.raises(Unsupported, match="layer 1 is a LazyConv2d"):
        compress_(model, ASI(ranks=1), layers=2)
    assert type(model[0]) is nn.Conv2d


def test_a_type_that_computes_as_pytorchs_is_compressed_and_restored() -> None:
    class Named(nn.Conv2d):
        pass

    model = nn.Sequential(Named(3, 2, 1))
    compress_(model, ASI(ranks=1), layers=1)
    assert isinstance(model[0], CompressedConv2d)
    restore_(model)
    assert type(model[0]) is Named


def test_compressing_again_changes_the_method() -> None:
    model = nn.Sequential(nn.Conv2d(6, 4, 3))
    compress_(model, ASI(ranks=1), layers=1)
    compress_(model, HOSVD(ranks=2), layers=1)
    assert isinstance(model[0], CompressedConv2d)
    assert model[0].method == HOSVD(ranks=2)


def both(method: ASI | HOSVD | GradientFilter) -> tuple[nn.Sequential, nn.Sequential]:
    """The same small network, plain and compressed."""
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(nn.Sequential(nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(4, 4, 1)).double())
    compress_(models[1], method, layers="all")
    return models[0], models[1]


def weight_gradients(model: nn.Module) -> list[Tensor]:
    found = [p.grad for p in model.parameters()]
    assert all(g is not None for g in found)
    return [g for g in found if g is not None]


LOSSLESS = [ASI(ranks=99), HOSVD(explained_variance=1.0)]


@given(
    conv_cases(),
    st.sampled_from(LOSSLESS),
    st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
)
@settings(max_examples=200, deadline=None)
def test_at_full_rank_all_gradients_are_autograds(
    case: ConvCase, method: ASI | HOSVD, padding_mode: str
) -> None:
    """Any kernel, stride, padding, dilation and groups; zero padding if others do not fit."""
    conv, x = case.conv, case.x
    if max(conv._reversed_padding_repeated_twice) < min(x.shape[2:]):
        conv.padding_mode = padding_mode
    model = nn.Sequential(conv)
    expected_output = model(x)
    grad_output = torch.randn_like(expected_output)
    expected = _all_gradients(model, x, grad_output)
    compress_(model, method, layers="all")
    assert torch.equal(model(x), expected_output)
    for found, wanted in zip(_all_gradients(model, x, grad_output), expected, strict=True):
        assert_close(found, wanted, rtol=1e-8, atol=1e-9)


def _all_gradients(model: nn.Module, x: Tensor, grad_output: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    return list(torch.autograd.grad(model(x), [x, *model.parameters()], grad_output))


@pytest.mark.parametrize("method", LOSSLESS)
def test_a_layer_called_twice_in_one_forward_gets_both_gradients(method: ASI | HOSVD) -> None:
    plain, compressed = both(method)
    for model in (plain, compressed):
        hidden = model[0](images(8).double())
        model[1](model[1](hidden)[:5]).square().sum().backward()
    for found, expected in zip(weight_gradients(compressed), weight_gradients(plain), strict=True):
        assert_close(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("method", LOSSLESS)
def test_gradients_accumulate_over_batches_of_any_size(method: ASI | HOSVD) -> None:
    plain, compressed = both(method)
    for model in (plain, compressed):
        for x in (images(8), images(3), images(8)[..., :5, :4]):
            model(x.double()).square().sum().backward()
    for found, expected in zip(weight_gradients(compressed), weight_gradients(plain), strict=True):
        assert_close(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("method", [*LOSSLESS, GradientFilter(patch=2)])
def test_an_empty_batch_gives_gradients_of_zero(method: ASI | HOSVD | GradientFilter) -> None:
    _, compressed = both(method)
    compressed(images(8)[:0].double()).sum().backward()
    assert all(float(g.abs().sum()) == 0 for g in weight_gradients(compressed))


@pytest.mark.parametrize("method", [*LOSSLESS, GradientFilter(patch=2)])
def test_channels_last_changes_nothing(method: ASI | HOSVD | GradientFilter) -> None:
    results = []
    for form in (torch.contiguous_format, torch.channels_last):
        _, model = both(method)
        model = model.to(memory_format=form)
        output = model(images(8).double().to(memory_format=form))
        output.square().sum().backward()
        results.append([output.detach(), *weight_gradients(model)])
    for contiguous, last in zip(*results, strict=True):
        assert_close(last, contiguous, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", [*LOSSLESS, GradientFilter(patch=1)])
def test_autocast_computes_and_keeps_the_lower_precision(
    method: ASI | HOSVD | GradientFilter, dtype: torch.dtype
) -> None:
    plain, compressed = (model.float() for model in both(method))
    outputs = []
    for model in (plain, compressed):
        with torch.autocast("cpu", dtype=dtype):
            outputs.append(model(images()))
        outputs[-1].float().square().sum().backward()
    assert outputs[1].dtype == dtype
    assert torch.equal(outputs[0], outputs[1])
    if isinstance(method, GradientFilter):
        return  # its gradients are exact for 1 x 1 kernels only
    for found, expected in zip(weight_gradients(compressed), weight_gradients(plain), strict=True):
        assert found.dtype == torch.float32
        assert float((found - expected).norm()) < 0.02 * float(expected.norm())


def test_autocast_leaves_the_iteration_in_single_precision() -> None:
    conv = layer(ASI(ranks=3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        conv(images())
    for factor in conv.memory.factors.values():
        assert factor.dtype == torch.float32
        assert_close(factor.T @ factor, torch.eye(3), atol=1e-5, rtol=0)
    plain = layer(ASI(ranks=3))
    plain(images().bfloat16().float())
    for mode, factor in plain.memory.factors.items():
        assert torch.equal(conv.memory.factors[mode], factor)


def test_a_model_in_bfloat16_keeps_bfloat16() -> None:
    model = nn.Sequential(nn.Conv2d(6, 4, 3, bias=False)).to(torch.bfloat16)
    compress_(model, ASI(ranks=3), layers=1)
    with SavedBytes(model) as meter:
        output = model(images().to(torch.bfloat16))
    elements = 3**4 + 3 * (8 + 6 + 7 + 7)
    assert meter.total == 2 * elements
    output.float().sum().backward()
    assert weight_gradients(model)[0].dtype == torch.bfloat16


def test_a_frozen_bias_gets_no_gradient() -> None:
    _, model = both(ASI(ranks=3))
    assert isinstance(model[0], CompressedConv2d)
    assert model[0].bias is not None
    model[0].bias.requires_grad_(False)
    model(images().double()).sum().backward()
    assert model[0].bias.grad is None
    assert model[0].weight.grad is not None


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv1d(1, 1, 1), "Conv1d"),
        (nn.ConvTranspose2d(1, 1, 1), "ConvTranspose2d"),
        (nn.LazyConv2d(1, 1), "LazyConv2d"),
        (nn.Conv2d(1, 1, 1, dtype=torch.complex64), "complex64"),
        (nn.ReLU(), "ReLU"),
    ],
)
def test_what_cannot_be_compressed_is_named(layer: nn.Module, reason: str) -> None:
    with pytest.raises(Unsupported, match=f"layer 0 .*{reason}"):
        compress_(nn.Sequential(layer), ASI(ranks=1), layers=["0"])


def test_a_name_that_is_no_layer_is_reported() -> None:
    with pytest.raises(InvalidInput, match="'head'"):
        compress_(nn.Sequential(nn.Conv2d(1, 1, 1)), ASI(ranks=1), layers=["head"])
