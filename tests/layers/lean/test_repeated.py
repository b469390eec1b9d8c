"""Attention that keeps its input and runs again in backward."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad
from torchvision.models.swin_transformer import (
    ShiftedWindowAttention,
    ShiftedWindowAttentionV2,
)

from asi_core.costs.measurement import SavedBytes
from asi_core.layers.lean import lean_, unlean_
from asi_core.layers.lean.repeated import RepeatedAttention
from tests.costs.networks import step
from tests.layers.lean.cases import types


class SelfAttention(nn.Module):
    """PyTorch's attention of a tensor to itself, behind a trained layer."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True, **settings).requires_grad_(False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.first(x)
        found: Tensor = self.attn(x, x, value=x, need_weights=mask is not None, attn_mask=mask)[0]
        return found


def windows(kind: type[nn.Module], shift: int) -> nn.Module:
    attention = kind(8, [4, 4], [shift, shift], 2)  # type: ignore[call-arg]
    return nn.Sequential(nn.Linear(8, 8), attention.requires_grad_(False))


def by_timm() -> nn.Module:
    layers = pytest.importorskip("timm.layers")
    return nn.Sequential(nn.Linear(8, 8), layers.Attention(8, 2).requires_grad_(False))


CASES: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (SelfAttention, (3, 5, 8)),
    (lambda: windows(ShiftedWindowAttention, 0), (2, 8, 8, 8)),
    (lambda: windows(ShiftedWindowAttention, 2), (2, 8, 7, 8)),
    (lambda: windows(ShiftedWindowAttentionV2, 2), (2, 8, 8, 8)),
    (by_timm, (3, 5, 8)),
]
REPEATED = "RepeatedAttentionOf"


def repeated(model: nn.Module, bits: int | None = None) -> nn.Module:
    twin = copy.deepcopy(model)
    report = lean_(twin, activation_bits=bits, recompute_attention=True)
    assert any(isinstance(m, RepeatedAttention) for m in twin.modules())
    assert bool(report.rounded) is (bits is not None)
    return twin


def gradients(model: nn.Module, x: Tensor, *more: Any) -> list[Tensor]:
    output = model(x, *more)
    direction = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view(output.shape)
    trained = [p for p in model.parameters() if p.requires_grad]
    return [output.detach(), *grad(output, [x, *trained], direction)]


@pytest.mark.parametrize(("make", "shape"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_the_same_numbers_from_the_input_alone(
    make: Callable[[], nn.Module], shape: tuple[int, ...], dtype: torch.dtype, training: bool
) -> None:
    torch.manual_seed(0)
    model = make().to(dtype).train(training)
    twin = repeated(model)
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    for own, native in zip(gradients(twin, x), gradients(model, x), strict=True):
        assert torch.equal(own, native)
    with SavedBytes(twin) as saved:
        output = twin(x)
    # The first layer's input, and the attention's.
    assert saved.total == 2 * x.numel() * x.element_size()
    output.sum().backward()


@pytest.mark.parametrize(("make", "shape"), CASES)
def test_both_meters_agree(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    model, twin = make(), repeated(make())
    found = [
        step(m, lambda: (torch.randn(shape),), [name for name, _ in m.named_children()][:1])
        for m in (model, twin)
    ]
    assert found[1].saved_bytes < found[0].saved_bytes


@pytest.mark.parametrize(("make", "shape"), CASES)
def test_a_rounded_input_comes_close(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = make()
    x = torch.randn(shape, requires_grad=True)
    expected = gradients(model, x)
    off = []
    for bits in (8, 4):
        found = gradients(repeated(model, bits), x)
        assert torch.equal(found[0], expected[0])
        off.append(float((found[1] - expected[1]).norm() / expected[1].norm()))
    assert off[0] < 0.05
    assert off[0] < off[1] / 4


def test_constants_and_keywords_are_passed_on() -> None:
    model = SelfAttention()
    mask = torch.triu(torch.full((5, 5), -torch.inf), 1)
    x = torch.randn(3, 5, 8, requires_grad=True)
    for own, native in zip(
        gradients(repeated(model), x, mask), gradients(model, x, mask), strict=True
    ):
        assert torch.equal(own, native)


def test_mixed_precision() -> None:
    models = [model := SelfAttention(), repeated(model)]
    x = torch.randn(3, 5, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = [m(x) for m in models]
    assert torch.equal(*outputs)
    pairs = zip(outputs, models, strict=True)
    assert torch.equal(*(grad(o.sum(), m.get_parameter("first.weight"))[0] for o, m in pairs))


def test_what_trains_or_draws_runs_once() -> None:
    trained, drawing = SelfAttention(), SelfAttention(dropout=0.5)
    trained.attn.requires_grad_(True)
    for model, reason in ((trained, "its own weights are trained"), (drawing, "it draws numbers")):
        twin = copy.deepcopy(model)
        report = lean_(twin, recompute_attention=True)
        assert report.kept["attn"].startswith(reason)
        assert "attn" not in report.replaced
        x = torch.randn(3, 5, 8, requires_grad=True)
        results = []
        for m in (model, twin):
            torch.manual_seed(0)
            results.append(gradients(m, x))
        for own, native in zip(*results, strict=True):
            assert torch.equal(own, native)


def test_the_result_may_be_changed_in_place() -> None:
    layer = repeated(nn.Sequential(nn.Linear(8, 8), SelfAttention().attn))[1]
    x = torch.randn(3, 5, 8, requires_grad=True)
    found = layer(x, x, x)[0]
    found += x
    found.relu_().sum().backward()
    assert x.grad is not None


def test_cross_attention_runs_once() -> None:
    model = nn.ModuleDict({"attn": nn.MultiheadAttention(8, 2).requires_grad_(False)})
    twin = repeated(model)
    results = []
    for m in (model, twin):
        torch.manual_seed(0)
        x, y = (torch.randn(5, 3, 8, requires_grad=True) for _ in range(2))
        results.append(grad(m["attn"](x, y, y)[0].square().sum(), [x, y]))
    for own, native in zip(*results, strict=True):
        assert torch.equal(own, native)


@pytest.mark.parametrize(("make", "shape"), CASES)
def test_surgery_copies_and_undoes(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    model = make()
    before, keys = types(model), list(model.state_dict())
    assert lean_(model, recompute_attention=False).rounded == {}
    lean_(model, recompute_attention=True)
    assert list(model.state_dict()) == keys
    x = torch.randn(shape, requires_grad=True)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for own, native in zip(gradients(copied, x), gradients(model, x), strict=True):
            assert torch.equal(own, native)
    unlean_(model)
    assert types(model) == before
