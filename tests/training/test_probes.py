"""Probes of single layers, compared with autograd's gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from asi_core.layers.surgery import compress_
from asi_core.layers.watching import watched
from asi_core.methods import ASI
from asi_core.training.events import LayerProbe
from asi_core.training.probes import probe_layers


def probe(model: nn.Module, x: torch.Tensor) -> LayerProbe:
    """One step of `model`, probed."""
    with watched(model, ["0"]) as notes:
        model(x).square().sum().backward()
    (found,) = probe_layers(model, notes)
    return found


@pytest.mark.parametrize("mode", ["zeros", "reflect", "circular", "replicate"])
@pytest.mark.parametrize("ranks", [2, 64])
def test_every_padding_is_probed_as_the_product_receives_it(mode: str, ranks: int) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode=mode))
    model = copy.deepcopy(plain)
    compress_(model, ASI(ranks=ranks), layers=1)
    x = torch.randn(5, 3, 8, 6)
    found = probe(model, x)
    assert found.shape == ((5, 3, 8, 6) if mode == "zeros" else (5, 3, 10, 8))
    plain(x).square().sum().backward()
    kept, exact = model[0].weight.grad.flatten(), plain[0].weight.grad.flatten()
    cosine = torch.nn.functional.cosine_similarity(kept, exact, dim=0).item()
    assert found.gradient_cosine == pytest.approx(cosine, abs=1e-5)
    assert found.captured_energy is not None
    assert (found.captured_energy > 0.999) == (ranks == 64)


@pytest.mark.parametrize("bits", [16, 8])
def test_factors_of_fewer_bits_are_probed_as_others(bits: int) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3))
    x, other = torch.randn(5, 3, 8, 6), torch.randn(5, 3, 8, 6)
    found = {}
    for each in (32, bits):
        model = copy.deepcopy(plain)
        compress_(model, ASI(ranks=2, bits=each), layers=1)
        probe(model, x)
        found[each] = probe(model, other)
    assert found[bits].captured_energy == pytest.approx(found[32].captured_energy, rel=1e-2)
    assert found[bits].drift_degrees is not None
    assert found[32].drift_degrees is not None
    for fewer, single in zip(found[bits].drift_degrees, found[32].drift_degrees, strict=True):
        assert fewer == pytest.approx(single, abs=1.0)
        assert single is not None
        assert single > 5, "another input has other subspaces"
