"""Recomputed blocks give vanilla's numbers, from their inputs alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import symbolic_trace

from asi_core.costs.measurement import SavedBytes
from asi_core.errors import InvalidInput, Unsupported
from asi_core.layers.freezing import train_only_
from asi_core.layers.lean import lean_
from asi_core.layers.selection import last_layers
from asi_core.layers.surgery import compress_
from asi_core.methods import Checkpointing
from asi_core.methods.blocks import block_of
from asi_core.training.checkpointing import repeated_blocks
from asi_core.training.features import FeaturePool
from asi_core.training.measuring import measure
from asi_core.training.prefix import split_frozen
from asi_core.training.spec import RunSpec
from asi_core.units import GIB
from asi_core.zoo.build import build_model
from asi_core.zoo.cards import MODELS, model_card

POOL = FeaturePool(GIB)


@pytest.mark.parametrize(
    ("layer", "block"),
    [
        ("features.17.conv.0.0", "features.17"),
        ("features.18.0", "features.18"),
        ("layer4.1.conv2", "layer4.1"),
        ("layer4.0.downsample.0", "layer4.0"),
        ("blocks.16.mobile_inverted_conv.point_linear.conv", "blocks.16"),
        ("encoder.layers.encoder_layer_11.mlp.3", "encoder.layers.encoder_layer_11"),
        ("features.7.1.mlp.0", "features.7.1"),
        ("first_conv.conv", "first_conv"),
        ("conv1", "conv1"),
        ("3", "3"),
    ],
)
def test_blocks_are_found_by_name(layer: str, block: str) -> None:
    assert block_of(layer) == block


def trained_tail(name: str, layers: int, *, train_norm: bool = False) -> tuple[Any, list[str]]:
    card = model_card(name)
    model = build_model(name, 10, seed=0, pretrained=False)
    names = last_layers(card.trainable_names(model.named_modules()), layers)
    train_only_(model, names, [card.head], train_norm=train_norm)
    return split_frozen(model), names


def step(tail: nn.Module, values: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
    tail.zero_grad()
    logits = tail(*values)
    logits.square().sum().backward()
    return logits.detach(), {n: p.grad for n, p in tail.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize(
    ("name", "layers"),
    [("mobilenet_v2", 5), ("resnet18", 4), ("resnet18", 6), ("mcunet_in1", 6), ("swin_t", 3)],
)
def test_numbers_are_vanillas_to_the_last_bit(name: str, layers: int, lean: bool) -> None:
    parts, names = trained_tail(name, layers, train_norm=True)
    size = 224 if MODELS[name].fixed_size else 64
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        values = parts.prefix(images)
    if lean:
        lean_(parts.tail)
    logits, gradients = step(parts.tail, values)
    repeated = repeated_blocks(parts.tail, names)
    assert set(dict(repeated.named_parameters())) == set(dict(parts.tail.named_parameters()))
    found_logits, found = step(repeated, values)
    assert torch.equal(found_logits, logits)
    assert found.keys() == gradients.keys()
    for parameter, gradient in gradients.items():
        assert torch.equal(found[parameter], gradient), parameter


def test_a_block_keeps_nothing_but_what_comes_into_it() -> None:
    parts, names = trained_tail("mobilenet_v2", 4)
    repeated = repeated_blocks(parts.tail, names)
    values = tuple(torch.randn_like(v) for v in parts.prefix(torch.randn(8, 3, 64, 64)))
    with SavedBytes(repeated) as meter:
        made = repeated(*values)
    with SavedBytes(parts.tail) as plain:
        parts.tail(*values)
    assert made.shape == (8, 10)
    # Two blocks: 160 and 320 channels of 2 x 2; and the classifier's input of 1280 numbers.
    assert meter.total == 4 * 8 * (160 * 4 + 320 * 4 + 1280)
    assert plain.total > 10 * meter.total


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize(
    ("name", "layers"), [("mobilenet_v2", 4), ("resnet18", 4), ("efficientnet_lite0", 3)]
)
def test_the_formula_is_what_is_measured(name: str, layers: int, lean: bool) -> None:
    spec = RunSpec(
        model=name,
        method=Checkpointing(),
        pretrained=False,
        layers=layers,
        batch_size=4,
        image_size=64,
        lean=lean,
    )
    found = measure(spec, POOL).measurement
    assert found.step.category_bytes["trained layer inputs"] == found.formula_bytes


def test_layers_cannot_be_checkpointed_one_by_one() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(InvalidInput, match=r"layer by layer.*torch\.utils\.checkpoint"):
        compress_(model, Checkpointing(), layers=1)
    with pytest.raises(Unsupported, match=r"Sequential.*blocks cannot be checkpointed"):
        repeated_blocks(model, ["0"])


def test_a_user_model_with_parameters_outside_of_layers() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.scale = nn.Parameter(torch.ones(1, 4, 1, 1))
            self.stages = nn.ModuleList(nn.Sequential(nn.Conv2d(4, 4, 3)) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            for stage in self.stages:
                x = torch.relu(stage(x) * self.scale)
            return x.mean((2, 3))

    tail = symbolic_trace(Own())
    x = torch.randn(2, 4, 9, 9)
    logits, gradients = step(tail, (x,))
    repeated = repeated_blocks(tail, ["stages.1.0", "stages.2.0"])
    found_logits, found = step(repeated, (x,))
    assert torch.equal(logits, found_logits)
    assert all(torch.equal(found[name], gradient) for name, gradient in gradients.items())
