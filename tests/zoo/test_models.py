"""Tests that apply to every model of the zoo."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from asi_core.errors import InvalidInput
from asi_core.layers.freezing import train_only_
from asi_core.layers.selection import last_layers
from asi_core.layers.surgery import compress_
from asi_core.methods import ASI
from asi_core.training.prefix import split_frozen
from asi_core.zoo import build
from asi_core.zoo.build import build_architecture, build_model
from asi_core.zoo.cards import MODELS, ModelCard
from asi_core.zoo.shapes import trained_layer_shapes

CARDS = pytest.mark.parametrize("card", MODELS.values(), ids=MODELS)
FROM_TORCHVISION = [card for card in MODELS.values() if "torchvision" in card.factory]


def on_meta(card: ModelCard) -> nn.Module:
    with torch.device("meta"):
        return build_architecture(card)


@CARDS
def test_the_card_matches_the_model(card: ModelCard) -> None:
    model = on_meta(card)
    names = card.trainable_names(model.named_modules())
    kind = nn.Conv2d if card.layer_kind == "conv" else nn.Linear
    assert all(isinstance(model.get_submodule(name), kind) for name in names)
    assert len(names) == card.layer_count
    assert sum(p.numel() for p in model.parameters()) == card.parameter_count
    assert isinstance(model.get_submodule(card.head), nn.Linear)
    assert card.head not in names
    if card.layer_kind == "conv":
        assert len(names) == sum(isinstance(m, nn.Conv2d) for m in model.modules())


@CARDS
def test_shapes_are_traced_without_weights(card: ModelCard) -> None:
    shapes = trained_layer_shapes(card.name, 4, 2, card.native_size)
    assert len(shapes) == 4
    assert all(len(shape.input_shape) == card.modes for shape in shapes)
    assert not shapes[0].has_input_gradient
    assert shapes[-1].has_input_gradient
    assert len(trained_layer_shapes(card.name, "all", 2, card.native_size)) == card.layer_count
    with pytest.raises(InvalidInput, match=f"between 0 and {card.layer_count}"):
        trained_layer_shapes(card.name, card.layer_count + 1, 2, card.native_size)


@CARDS
def test_cut_in_two_it_computes_the_same(card: ModelCard) -> None:
    model = build_model(card.name, 5, seed=3, pretrained=False)
    names = last_layers(card.trainable_names(model.named_modules()), 2)
    compress_(model, ASI(ranks=3), layers=names)
    train_only_(model, names, [card.head], train_norm=False)
    generator = torch.Generator().manual_seed(0)
    size = card.native_size if card.fixed_size else 64
    images = torch.randn(2, 3, size, size, generator=generator)
    parts = split_frozen(model)
    with torch.no_grad():
        crossing: tuple[Tensor, ...] = parts.prefix(images)
        expected = model(images)
    assert not any(p.requires_grad for p in parts.prefix.parameters())
    logits = parts.tail(*crossing)
    assert torch.equal(logits, expected)
    logits.square().sum().backward()
    gradients = [model.get_submodule(name).weight.grad for name in names]
    assert all(bool(g.isfinite().all()) and float(g.norm()) > 0 for g in gradients)


def test_a_branch_that_starts_before_training_has_no_input_gradient() -> None:
    """ResNet's last four convolutions start inside a block whose shortcut starts before it."""
    shapes = trained_layer_shapes("resnet18", 4, 2, 64)
    assert {s.name: s.has_input_gradient for s in shapes} == {
        "layer4.0.conv2": False,
        "layer4.0.downsample.0": False,
        "layer4.1.conv1": True,
        "layer4.1.conv2": True,
    }


def test_random_weights_come_from_the_seed_alone() -> None:
    state = torch.random.get_rng_state()
    first, second, third = (
        build_model("mcunet_in1", 10, seed=seed, pretrained=False) for seed in (0, 0, 1)
    )
    name = "blocks.5.mobile_inverted_conv.depth_conv.conv.weight"
    weights = [model.get_parameter(name) for model in (first, second, third)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_threads_take_turns_to_draw_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The architectures draw from a generator that all threads share."""
    held: list[bool] = []

    def watched(card: ModelCard) -> nn.Module:
        held.append(build._SEEDING.locked())
        return build_architecture(card)

    monkeypatch.setattr(build, "build_architecture", watched)
    build_model("mcunet_in1", 10, seed=0, pretrained=False)
    assert held == [True]
    assert not build._SEEDING.locked()


@pytest.mark.parametrize("card", FROM_TORCHVISION, ids=lambda card: card.name)
def test_addresses_sizes_and_normalisation_are_torchvisions(card: ModelCard) -> None:
    (weights,) = [
        w for w in torchvision.models.get_model_weights(card.name) if w.url == card.weights.url
    ]
    assert weights.meta["num_params"] == card.parameter_count
    transforms = weights.transforms()
    assert (tuple(transforms.mean), tuple(transforms.std)) == (card.mean, card.std)
    assert transforms.crop_size == [card.native_size]


def test_a_size_that_a_model_cannot_read_is_reported() -> None:
    with pytest.raises(InvalidInput, match=r"image size must be 224.*ViT-B/32.*got 96"):
        trained_layer_shapes("vit_b_32", 2, 2, 96)
