from __future__ import annotations

from dataclasses import replace

import pytest

from asi_core.costs.devices import DEVICES, TrainingMemory, training_memory
from asi_core.costs.estimate import estimate
from asi_core.errors import InvalidInput
from asi_core.layers.freezing import train_only_
from asi_core.layers.selection import last_layers
from asi_core.layers.surgery import compress_
from asi_core.methods import ASI, LoRA, LoRAFA, LoRAOverASI, Method, Vanilla
from asi_core.units import KIB
from asi_core.zoo.build import build_model
from asi_core.zoo.cards import model_card

MEMORY = TrainingMemory(100, 20, 20, 0, 7000)


def test_the_total_is_of_four_parts_and_leaves_frozen_weights_out() -> None:
    assert MEMORY.total_bytes == 140
    assert replace(MEMORY, optimiser_bytes=20).total_bytes == 160
    assert MEMORY.least(frozen_in_flash=True) == 140
    assert MEMORY.least(frozen_in_flash=False) == 7140


def test_devices_have_different_names_and_rising_budgets() -> None:
    assert len({device.key for device in DEVICES}) == len(DEVICES)
    budgets = [device.budget_bytes for device in DEVICES]
    assert budgets == sorted(budgets)
    assert budgets[1] == 320 * KIB
    assert all(device.note for device in DEVICES)


@pytest.mark.parametrize("momentum", [False, True])
def test_memory_of_resnet18_by_hand(momentum: bool) -> None:
    """Two 3 x 3 convolutions of 512 channels at 3 x 3 positions, and a classifier of 10."""
    settings = {"layers": 2, "batch_size": 4}
    cost = estimate("resnet18", Vanilla(), **settings, image_size=96, convention="exact")  # type: ignore[arg-type]
    found = training_memory(cost, "resnet18", **settings, classes=10, momentum=momentum)  # type: ignore[arg-type]
    weights = 4 * (2 * 512 * 512 * 9 + 512 * 10 + 10)
    assert found.activation_bytes == 4 * (2 * 4 * 512 * 9 + 4 * 512)
    assert found.weight_bytes == found.gradient_bytes == weights
    assert found.optimiser_bytes == (weights if momentum else 0)
    everything = 11_689_512 - 513 * 1000 + 513 * 10
    assert found.frozen_bytes + weights == 4 * everything


def test_only_activations_depend_on_the_method() -> None:
    settings = {"layers": 4, "batch_size": 16}
    vanilla, asi = (
        training_memory(
            estimate("mcunet_in1", method, **settings, image_size=96, convention="exact"),  # type: ignore[arg-type]
            "mcunet_in1",
            **settings,  # type: ignore[arg-type]
            classes=10,
        )
        for method in (Vanilla(), ASI(ranks=2))
    )
    assert asi.activation_bytes < vanilla.activation_bytes
    assert replace(asi, activation_bytes=0) == replace(vanilla, activation_bytes=0)


@pytest.mark.parametrize("method", [LoRA(lora_rank=3), LoRAFA(), LoRAOverASI(ranks=2)], ids=str)
def test_adapters_are_what_is_trained_of_a_real_network(method: Method) -> None:
    settings = {"layers": 5, "batch_size": 4}
    cost = estimate("mobilenet_v2", method, **settings, image_size=64, convention="exact")  # type: ignore[arg-type]
    found = training_memory(cost, "mobilenet_v2", **settings, classes=10)  # type: ignore[arg-type]
    model = build_model("mobilenet_v2", 10, 0, pretrained=False)
    card = model_card("mobilenet_v2")
    names = last_layers(card.trainable_names(model.named_modules()), 5)
    compress_(model, method, layers=names, lean=False)
    train_only_(model, names, card.heads)
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    assert found.weight_bytes == found.gradient_bytes == 4 * sum(n for n, is_on in sizes if is_on)
    assert found.frozen_bytes == 4 * sum(n for n, is_on in sizes if not is_on)


def test_too_many_layers_are_refused() -> None:
    cost = estimate(
        "resnet18", Vanilla(), layers=2, batch_size=4, image_size=96, convention="exact"
    )
    with pytest.raises(InvalidInput, match="between 0 and 20"):
        training_memory(cost, "resnet18", layers=21, batch_size=4, classes=10)
