from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from asi_core.costs.measurement import SavedBytes
from asi_core.errors import InvalidInput, Unsupported
from asi_core.layers.compressed import CompressedLayer
from asi_core.layers.lean import LeanLayer
from asi_core.layers.surgery import compress_, restore_
from asi_core.methods import ASI, HOSVD, GradientFilter, Method, Vanilla


def two() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(6, 6, 3), nn.Conv2d(6, 6, 3))


class Shared(nn.Module):
    """One convolution under two names, one of them in a block."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(6, 6, 3, padding=1)
        self.block = nn.Sequential(nn.ReLU(), self.first)
        self.last = nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.block(self.first(x)))
        return y


def kinds(model: nn.Sequential) -> list[str]:
    return [m.method.kind if isinstance(m, CompressedLayer) else "plain" for m in model]


def test_a_second_call_adds_to_the_first_and_compresses_again_what_both_mean() -> None:
    model = two()
    weights = list(model.parameters())
    compress_(model, ASI(ranks=2), layers=2)
    compress_(model, HOSVD(ranks=2), layers=1)
    assert kinds(model) == ["asi", "hosvd"]
    compress_(model, ASI(ranks=2), layers=2)
    assert compress_(model, Vanilla(), layers=2) == ["0", "1"]
    assert kinds(model) == ["plain", "plain"]
    assert all(a is b for a, b in zip(weights, model.parameters(), strict=True))


def test_what_cannot_be_compressed_leaves_what_was_compressed() -> None:
    model = nn.Sequential(*two(), nn.Linear(6, 2))
    compress_(model, ASI(ranks=2), layers=2)
    with pytest.raises(Unsupported, match="layer 2 is a Linear"):
        compress_(model, GradientFilter(), layers=["1", "2"])
    assert kinds(model) == ["asi", "asi", "plain"]


@pytest.mark.parametrize(
    ("layers", "names"),
    [("all", ["first", "last"]), (["first"], ["first"]), (["block.1"], ["block.1"])],
)
def test_a_layer_of_two_names_is_replaced_once(layers: str | list[str], names: list[str]) -> None:
    model = Shared()
    plain = model.first
    keys = set(model.state_dict())
    assert compress_(model, ASI(ranks=2), layers=layers) == names  # type: ignore[arg-type]
    assert isinstance(model.first, CompressedLayer)
    assert model.first is model.block[1]
    model(torch.randn(4, 6, 7, 7)).sum().backward()
    assert plain.weight.grad is not None
    restore_(model)
    assert type(model.first) is nn.Conv2d
    assert model.first is model.block[1]
    assert model.first.weight is plain.weight
    assert set(model.state_dict()) == keys


def test_both_names_of_a_layer_are_one_layer() -> None:
    assert compress_(Shared(), ASI(ranks=2), layers=["block.1", "first"]) == ["first"]


@pytest.mark.parametrize("method", [ASI(ranks=2), Vanilla()])
def test_a_layer_alone_is_refused(method: Method) -> None:
    for bare, layers in ((nn.Conv2d(3, 3, 3), 1), (nn.Linear(3, 3), [""]), (nn.Linear(3, 3), 1)):
        with pytest.raises(InvalidInput, match=r"must lie in a model, got \w+: put it into nn.Seq"):
            compress_(bare, method, layers=layers)  # type: ignore[arg-type]


def test_a_compressed_layer_alone_cannot_be_restored_in_place() -> None:
    model = two()
    compress_(model, ASI(ranks=2), layers=1)
    with pytest.raises(InvalidInput, match="must lie in a model, got CompressedConv2d"):
        restore_(model[1])


def with_activations() -> nn.Sequential:
    """Frozen normalisation, pooling, and an activation without a lean form."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6).requires_grad_(False)
    layers = (nn.Conv2d(6, 6, 3), norm, nn.ReLU(), nn.Conv2d(6, 6, 1), nn.SiLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1)).eval()


def test_what_lies_between_becomes_lean_unless_that_is_not_wanted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = with_activations()
    plain = [type(layer) for layer in model]
    with caplog.at_level("INFO"):
        compress_(model, ASI(ranks=2), layers=2)
    lean = [number for number, layer in enumerate(model) if isinstance(layer, LeanLayer)]
    assert lean == [1, 2, 5]
    assert "lean: 1, 2, 5; unchanged: 4" in caplog.text
    restore_(model)
    assert [type(layer) for layer in model] == plain
    compress_(model, ASI(ranks=2), layers=2, lean=False)
    assert not any(isinstance(layer, LeanLayer) for layer in model)


def test_lean_is_the_default_and_changes_no_digit() -> None:
    gradients, kept = [], []
    for lean in (True, False):
        model = with_activations()
        compress_(model, ASI(ranks=(2, 3, 2, 2)), layers=2, lean=lean)
        x = torch.randn(4, 6, 8, 8, generator=torch.Generator().manual_seed(0))
        with SavedBytes(model) as meter:
            output = model(x)
        output.square().sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
        kept.append(meter.total)
    assert len(gradients[0]) == 4
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    # Saved: a normalisation's input, and 31 of 32 bits of an activation's result.
    assert kept[1] - kept[0] == 4 * 6 * 36 * (4 + 4) - 4 * 6 * 36 // 8
