"""Convolutions and linear layers without compression."""

from __future__ import annotations

import copy
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import grad

from asi_core.costs.measurement import SavedBytes
from asi_core.layers.lean import lean_, unlean_
from asi_core.layers.lean.conv_norm import CompressedConvNorm2d
from asi_core.layers.lean.products import LeanConv2d, LeanLinear
from asi_core.layers.surgery import compress_, restore_
from tests.layers.lean.cases import (
    DTYPES,
    in_form,
    lean_twin,
    output_and_gradient,
    random_norm,
    types,
)

FORMS = ["contiguous", "channels last", "every second"]


@st.composite
def convolutions(draw: st.DrawFn) -> nn.Conv2d:
    groups = draw(st.sampled_from([1, 2, 4]))
    padding: Any = draw(st.sampled_from([0, 1, (1, 2), "same", "valid"]))
    stride = 1 if padding == "same" else draw(st.sampled_from([1, 2]))
    return nn.Conv2d(
        4,
        8,
        draw(st.sampled_from([1, 3, (3, 1)])),
        stride,
        padding,
        draw(st.sampled_from([1, 2])),
        groups,
        draw(st.booleans()),
        draw(st.sampled_from(["zeros", "zeros", "reflect", "circular"])),
    )


@given(convolutions(), st.sampled_from(DTYPES), st.sampled_from(FORMS), st.booleans())
@settings(max_examples=60)
def test_a_frozen_convolution_is_pytorchs_to_the_last_bit(
    plain: nn.Conv2d, dtype: torch.dtype, form: str, training: bool
) -> None:
    plain = plain.to(dtype).requires_grad_(False).train(training)
    x = in_form(torch.randn(3, 4, 9, 8, dtype=dtype), form)
    grad_output = torch.randn(plain(x).shape, dtype=dtype)
    results = [output_and_gradient(layer, x, grad_output) for layer in (plain, lean_twin(plain))]
    for own, native in zip(*results, strict=True):
        assert torch.equal(own, native)
        assert own.stride() == native.stride()


def test_a_frozen_convolution_keeps_nothing_and_a_trained_one_its_input() -> None:
    """What counts is what is frozen when it runs."""
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 8, 3))
    twin = copy.deepcopy(model)
    lean_(twin)
    x = torch.randn(2, 4, 6, 6)
    for frozen in (True, False, True):
        for m in (model, twin):
            m[1].weight.requires_grad_(not frozen)
        with SavedBytes(twin) as saved:
            output = twin(x)
        # The first layer's input, and the second's where it is trained.
        assert saved.total == (1 if frozen else 2) * x.numel() * 4
        trained = [[p for p in m.parameters() if p.requires_grad] for m in (model, twin)]
        expected = grad(model(x).square().sum(), trained[0])
        for own, native in zip(grad(output.square().sum(), trained[1]), expected, strict=True):
            assert torch.equal(own, native)


def test_mixed_precision_gives_the_plain_numbers() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 8, 3).requires_grad_(False))
    twin = copy.deepcopy(model)
    lean_(twin)
    results = []
    for m in (model, twin):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = m(torch.ones(2, 4, 6, 6))
        results.append([output, *grad(output.float().sum(), [m[0].weight, m[0].bias])])
    for own, native in zip(*results, strict=True):
        assert torch.equal(own, native)


def test_a_classifier_of_one_token_keeps_one_token() -> None:
    plain = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))
    twin = copy.deepcopy(plain)
    lean_(twin)
    assert type(twin[1]) is LeanLinear
    results, kept = [], []
    for model in (plain, twin):
        tokens = model[0](torch.ones(4, 50, 8)).detach()
        with SavedBytes(model) as saved:
            output = model[1](tokens[:, 0])
        kept.append(saved.total)
        results.append([output, *grad(output.square().sum(), list(model[1].parameters()))])
    assert kept == [4 * 50 * 8 * 4, 4 * 8 * 4]
    for own, native in zip(*results, strict=True):
        assert torch.equal(own, native)


def test_reports_name_what_is_frozen() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1).requires_grad_(False), nn.Linear(4, 4)
    )
    before = types(model)
    report = lean_(model)
    model.append(nn.Conv2d(4, 4, 2, padding="same").requires_grad_(False))
    assert report.replaced == ("1",)
    assert report.kept == {}
    assert lean_(model).kept == {"3": "its padding is not the same on both sides"}
    model.pop(3)
    unlean_(model)
    assert types(model) == before


def test_lean_layers_can_be_compressed_and_paired() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3), random_norm(4), nn.Flatten(), nn.Linear(16, 2))
    before = types(model)
    lean_(model)
    assert type(model[0]) is LeanConv2d
    assert compress_(model, "asi", ranks=2, layers=["0", "3"]) == ["0", "3"]
    assert [type(model[n]).__name__ for n in (0, 3)] == ["CompressedConv2d", "CompressedLinear"]
    restore_(model)
    assert types(model) == before
    model[1].requires_grad_(True)
    model[0] = lean_twin(model[0].requires_grad_(False)).requires_grad_(True)
    lean_(model)
    assert isinstance(model[0], CompressedConvNorm2d)
