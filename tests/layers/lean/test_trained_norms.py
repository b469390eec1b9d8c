"""Trained normalisations that the convolution before them computes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, fx, nn
from torch.testing import assert_close

from asi_core.costs.measurement import SavedBytes
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.lean import lean_, unlean_
from asi_core.layers.lean.conv_norm import CompressedConvNorm2d, FusedBatchNorm2d
from asi_core.layers.surgery import compress_
from asi_core.methods import ASI
from tests.geometries import ConvCase, conv_cases
from tests.layers.lean.cases import random_norm, types


def trained_norm(channels: int) -> nn.BatchNorm2d:
    return random_norm(channels).requires_grad_(True)


def traced(*layers: nn.Module) -> fx.GraphModule:
    return fx.symbolic_trace(nn.Sequential(*layers).eval())


def all_gradients(model: nn.Module, x: Tensor, grad_output: Tensor | None = None) -> list[Tensor]:
    leaf = x.clone().requires_grad_()
    output = model(leaf)
    weights = [p for p in model.parameters() if p.requires_grad]
    grad_output = torch.ones_like(output) if grad_output is None else grad_output
    return list(torch.autograd.grad(output, [leaf, *weights], grad_output))


@given(conv_cases(), st.data())
def test_all_gradients_are_autograds(case: ConvCase, data: st.DataObject) -> None:
    """Including scales of zero, and scales so small that nothing can be divided by them."""
    norm = trained_norm(case.conv.out_channels).double()
    for channel in range(norm.num_features):
        scale = data.draw(st.sampled_from([None, 0.0, 1e-300, -1e-170, 1e-20]))
        if scale is not None:
            norm.weight.data[channel] = scale
    model = traced(case.conv, norm)
    expected = all_gradients(model, case.x, case.grad_output)
    assert lean_(model).replaced == ("1",)
    found = all_gradients(model, case.x, case.grad_output)
    for own, native in zip(found, expected, strict=True):
        assert_close(own, native, rtol=1e-8, atol=1e-9)


def test_neither_keeps_the_convolutions_output() -> None:
    model = traced(nn.Conv2d(4, 8, 3), trained_norm(8), nn.ReLU())
    lean_(model)
    with SavedBytes(model) as meter:
        model(torch.randn(5, 4, 8, 8))
    assert meter.total == 4 * 5 * 4 * 64 + 5 * 8 * 36 // 8


def test_a_compressed_input_gives_as_good_a_gradient_as_the_weights() -> None:
    """Exact at full rank; below, derived from the compressed weight gradient."""
    x = torch.randn(6, 4, 7, 7, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(4, 8, 3), trained_norm(8)).eval()
    expected = all_gradients(plain, x)
    for ranks, exact in ((99, True), ((2, 2, 2, 2), False)):
        model = copy.deepcopy(plain)
        compress_(model, ASI(ranks=ranks), layers=1, lean=False)
        tail = fx.Tracer()
        tail.is_leaf_module = lambda m, name: True  # type: ignore[method-assign]
        graph = fx.GraphModule(model, tail.trace(model))
        lean_(graph)
        found = all_gradients(graph, x)
        assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)
        for own, native in zip(found[1:], expected[1:], strict=True):
            if exact:
                assert_close(own, native, rtol=1e-4, atol=1e-4)
        norm, conv = model[1], graph.get_submodule("0")
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_var is not None and norm.running_mean is not None  # noqa: PT018
        # Computed by hand from the weight's gradient in the same step.
        grad_weight, grad_bias, grad_scale, grad_shift = found[1:]
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        products = (conv.weight * grad_weight).flatten(1).sum(1) / factor
        products += (conv.bias - norm.running_mean) * grad_shift
        by_hand = products / (norm.running_var + norm.eps).sqrt()
        assert_close(grad_scale, by_hand, rtol=1e-4, atol=1e-4)
        assert_close(grad_bias, factor * grad_shift, rtol=1e-4, atol=1e-4)


class Read(nn.Module):
    """Another layer reads the convolution's output too, or one reads it twice."""

    def __init__(self, twice: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.twice = nn.Conv2d(4, 4, 1), trained_norm(4), twice

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z: Tensor = self.norm(self.norm(y)) if self.twice else self.norm(y) + y
        return z


@pytest.mark.parametrize("twice", [True, False])
def test_an_output_that_others_read_is_not_paired(twice: bool) -> None:
    model = fx.symbolic_trace(Read(twice).eval())
    x = torch.randn(2, 4, 3, 3)
    expected = all_gradients(model, x)
    report = lean_(model)
    assert list(report.kept) == ["norm"]
    assert all(torch.equal(a, b) for a, b in zip(all_gradients(model, x), expected, strict=True))


@pytest.mark.parametrize("change", ["frozen", "training", "no running statistics"])
def test_what_cannot_be_paired_is_left(change: str) -> None:
    conv, norm = nn.Conv2d(4, 4, 1), trained_norm(4)
    model = traced(conv, norm)
    if change == "frozen":
        conv.requires_grad_(False)
    elif change == "training":
        norm.train()
    else:
        norm.running_mean = norm.running_var = None
    assert "input" in lean_(model).kept["1"]
    assert not isinstance(model.get_submodule("0"), CompressedLayer)


def test_a_normalisation_without_a_shift_is_paired() -> None:
    torch.manual_seed(0)
    norm = trained_norm(4)
    norm.register_parameter("bias", None)
    model = traced(nn.Conv2d(4, 4, 1), norm)
    x = torch.randn(2, 4, 3, 3)
    expected = all_gradients(model, x)
    assert "1" in lean_(model).replaced
    for own, native in zip(all_gradients(model, x), expected, strict=True):
        assert_close(own, native, rtol=1e-4, atol=1e-5)


def test_what_changes_after_pairing_is_computed_plainly() -> None:
    """Training mode, a frozen scale, autocast."""
    torch.manual_seed(0)
    model = traced(nn.Conv2d(4, 8, 3), trained_norm(8))
    twin = copy.deepcopy(model)
    lean_(twin)
    x = torch.randn(3, 4, 6, 6)
    for change in (
        lambda m: m.get_submodule("1").train(),
        lambda m: m.get_submodule("1").eval().weight.requires_grad_(False),
    ):
        for each in (model, twin):
            change(each)
        for own, native in zip(all_gradients(twin, x), all_gradients(model, x), strict=True):
            assert_close(own, native, rtol=1e-5, atol=1e-5)
    model.get_submodule("1").requires_grad_(True)
    twin.get_submodule("1").requires_grad_(True)
    with torch.autocast("cpu"):
        gradients = [all_gradients(each, x) for each in (twin, model)]
    for own, native in zip(*gradients, strict=True):
        assert (own - native).norm() <= 0.05 * native.norm()  # as autocast rounds


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_pairs_are_copied_and_undone(copied: Callable[[nn.Module], nn.Module]) -> None:
    model = traced(nn.Conv2d(4, 8, 3), trained_norm(8))
    before = types(model)
    lean_(model)
    model(torch.randn(3, 4, 6, 6))
    twin = copied(model)
    conv, norm = twin.get_submodule("0"), twin.get_submodule("1")
    assert isinstance(conv, CompressedConvNorm2d)
    assert isinstance(norm, FusedBatchNorm2d)
    assert conv.norm is norm
    x = torch.randn(3, 4, 6, 6)
    for own, native in zip(all_gradients(twin, x), all_gradients(model, x), strict=True):
        assert torch.equal(own, native)
    unlean_(twin)
    assert types(twin) == before
    for own, native in zip(all_gradients(twin, x), all_gradients(model, x), strict=True):
        assert_close(own, native, rtol=1e-4, atol=1e-5)
