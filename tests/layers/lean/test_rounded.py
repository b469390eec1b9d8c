"""Layers that keep what their gradients need in few bits."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import grad

from asi_core.errors import InvalidInput
from asi_core.layers.lean import lean_, unlean_
from asi_core.layers.lean.rounding import restored, rounded
from asi_core.linalg.quantisation import GROUP
from tests.costs.networks import Applied, batch, categories, step
from tests.layers.lean.cases import forms, in_form, shapes, types, values

ACTIVATIONS = [
    nn.GELU(),
    nn.GELU("tanh"),
    nn.SiLU(),
    nn.SiLU(inplace=True),
    nn.Hardswish(inplace=True),
    nn.Mish(),
    nn.ELU(0.7, inplace=True),
    nn.CELU(0.5),
    nn.SELU(),
    nn.Softplus(2.0, 3.0),
]
NORMS = [nn.LayerNorm(6), nn.LayerNorm((5, 6)), nn.GroupNorm(2, 4), nn.RMSNorm(6)]


def rounded_twin(plain: nn.Module, bits: int) -> nn.Module:
    holder = nn.Sequential(copy.deepcopy(plain))
    report = lean_(holder, activation_bits=bits)
    assert report.replaced == ("0",)
    assert report.rounded == {"0": bits}
    return holder[0]


@pytest.mark.parametrize("plain", ACTIVATIONS, ids=repr)
@given(
    st.data(),
    shapes,
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    forms,
    st.sampled_from([8, 4]),
    st.booleans(),
)
@settings(max_examples=25)
def test_an_activations_slope_is_off_by_half_a_step_at_most(
    plain: nn.Module,
    data: st.DataObject,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    form: str,
    bits: int,
    training: bool,
) -> None:
    x = in_form(data.draw(values(shape, [0.0, -3.0, 3.0, 20.0])).to(dtype), form)
    x.requires_grad_()
    twin = rounded_twin(plain, bits).train(training)
    output, expected = twin(x * 1), plain(x * 1)
    assert torch.equal(output, expected)
    (slope,) = grad(expected, x, torch.ones_like(expected))
    (found,) = grad(output, x, torch.full_like(output, 2.0))
    half_a_step = float(slope.max() - slope.min()) / (2**bits - 1) / 2
    precision = 2 * torch.finfo(dtype).eps * float(slope.abs().max())
    assert float((found / 2 - slope).abs().max()) <= half_a_step * 1.0001 + precision


@pytest.mark.parametrize("plain", NORMS, ids=repr)
@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("form", ["contiguous", "channels last", "transposed", "every second"])
def test_a_normalisations_gradient_is_that_at_its_rounded_input(
    plain: nn.Module, trained: bool, dtype: torch.dtype, form: str
) -> None:
    plain = copy.deepcopy(plain).to(dtype).requires_grad_(trained)
    for parameter in plain.parameters():
        nn.init.uniform_(parameter, 0.5, 2)
    x = in_form(3 * torch.randn(3, 4, 5, 6, dtype=dtype) + 1, form).requires_grad_()
    direction = torch.randn(x.shape, dtype=dtype)
    twin = rounded_twin(plain, 8)
    output = twin(x)
    assert torch.equal(output, plain(x))
    near = restored(context := Context(), *rounded(context, x.detach(), 8)).requires_grad_()
    expected = grad(plain(near), [near, *parameters(plain)], direction)
    for own, native in zip(grad(output, [x, *parameters(twin)], direction), expected, strict=True):
        assert torch.equal(own, native)


class Context:
    """Where an autograd function would note the place in memory."""


def parameters(layer: nn.Module) -> list[Tensor]:
    return [p for p in layer.parameters() if p.requires_grad]


@pytest.mark.parametrize("plain", [*NORMS, *ACTIVATIONS], ids=repr)
def test_more_bits_are_closer(plain: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 4, 5, 6, generator=generator).requires_grad_()
    direction = torch.randn(x.shape, generator=generator)
    (exact,) = grad(plain(x * 1), x, direction)
    found = [grad(rounded_twin(plain, bits)(x * 1), x, direction)[0] for bits in (4, 8)]
    off = [float((own - exact).norm() / exact.norm()) for own in found]
    # Sixteen times smaller steps; the bounds are for these numbers.
    assert off[1] < off[0] / 8
    assert off[1] < 0.01


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(
    ("layer", "category"),
    [(nn.GELU(), "activation functions"), (nn.GroupNorm(1, 3), "normalisation")],
)
@pytest.mark.parametrize("side", [8, 5])
def test_both_meters_count_the_bits(layer: nn.Module, category: str, bits: int, side: int) -> None:
    model = Applied(copy.deepcopy(layer).requires_grad_(False), channels=3)
    lean_(model, activation_bits=bits)
    kept = categories(step(model, batch(4, 3, side, side), ["conv"]))
    groups = -(-4 * 3 * side * side // GROUP)
    assert kept[category] == groups * (GROUP * bits // 8 + 2 * 4)


def test_a_normalisation_that_reads_the_images_is_trained_too() -> None:
    model = nn.Sequential(nn.LayerNorm(6), nn.Flatten(), nn.Linear(24, 2))
    twin = copy.deepcopy(model)
    lean_(twin, activation_bits=8)
    x = torch.randn(32, 4, 6)
    results = [grad(m(x).square().sum(), [m[0].weight, m[0].bias]) for m in (model, twin)]
    for exact, own in zip(*results, strict=True):
        assert (own - exact).norm() < 0.01 * exact.norm()


def test_mixed_precision_gives_the_plain_outputs() -> None:
    model = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 2))
    twin = copy.deepcopy(model)
    lean_(twin, activation_bits=8)
    x = torch.randn(8, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = [m(x) for m in (model, twin)]
    assert torch.equal(*outputs)
    exact, own = (
        grad(o.float().square().sum(), m[0].weight)[0]
        for o, m in zip(outputs, (model, twin), strict=True)
    )
    assert (own - exact).norm() < 0.02 * exact.norm()


def test_surgery_copies_and_undoes() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 1), *NORMS[:2], nn.GELU(), nn.SiLU(inplace=True)).eval()
    before, keys = types(model), list(model.state_dict())
    assert lean_(model).rounded == {}
    assert lean_(model, activation_bits=4).rounded == {str(n): 4 for n in range(1, 5)}
    assert lean_(model, activation_bits=8).rounded == {str(n): 8 for n in range(1, 5)}
    assert "8 bits" in repr(model)
    assert list(model.state_dict()) == keys
    x = torch.randn(2, 4, 5, 6)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        wanted = [grad(m(x).sum(), m[0].weight)[0] for m in (model, copied)]
        assert torch.equal(*wanted)
        assert types(copied) == types(model)
    unlean_(model)
    assert types(model) == before
    assert all("bits" not in vars(layer) for layer in model)


def test_other_bits_are_refused() -> None:
    with pytest.raises(InvalidInput, match="activation bits must be 8 or 4, got 3"):
        lean_(nn.Sequential(nn.GELU()), activation_bits=3)


def test_nothing_is_kept_without_a_gradient() -> None:
    layer = rounded_twin(nn.LayerNorm(6), 8).requires_grad_(False)
    x = torch.randn(2, 6)
    assert layer(x).grad_fn is None
    with torch.no_grad():
        assert layer(x.clone().requires_grad_()).grad_fn is None


def test_steps_shrink_with_bits() -> None:
    """Of the same tensor: the largest error per number of bits."""
    x = torch.randn(7, 33)
    off = []
    for bits in (4, 8):
        context = Context()
        off.append(float((restored(context, *rounded(context, x, bits)) - x).abs().max()))
    assert all(more > 8 * less for more, less in pairwise(off))
