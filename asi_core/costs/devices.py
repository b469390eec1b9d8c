"""Devices to train on, and a closed form of what training needs besides activations.

The closed form counts the trained part at the end of a forward pass, as a lower bound, for networks
that cannot be run on shapes (language models); what fits elsewhere is `costs.needs.Need`. Frozen
weights are listed separately, because nothing writes to them: a microcontroller may keep them in
flash.
"""

from __future__ import annotations

from dataclasses import dataclass

from asi_core.costs.accounting import StepCost
from asi_core.records import ELEMENT_BYTES
from asi_core.units import GIB, KIB, MIB
from asi_core.zoo.cards import ModelCard, model_card
from asi_core.zoo.parameters import parameter_count


@dataclass(frozen=True, slots=True)
class Device:
    """A device to train on.

    Attributes:
        key: short and fixed, used in page addresses.
        budget_bytes: its whole working memory, including what other software uses.
        frozen_in_flash: whether frozen weights are read from flash, where they lie, and take no
            working memory.
        note: kind of memory, and source of the number.
    """

    key: str
    name: str
    budget_bytes: int
    frozen_in_flash: bool
    note: str


DEVICES = (
    Device(
        "mcu256",
        "Small microcontroller",
        256 * KIB,
        True,
        "The SRAM of 'On-device training under 256KB memory' (Lin et al., NeurIPS 2022).",
    ),
    Device(
        "stm32f746",
        "STM32F746",
        320 * KIB,
        True,
        "SRAM of an Arm Cortex-M7 microcontroller (data sheet DS10916).",
    ),
    Device(
        "stm32h743",
        "STM32H743",
        1 * MIB,
        True,
        "SRAM of an Arm Cortex-M7 microcontroller (data sheet DS12110).",
    ),
    Device(
        "esp32s3",
        "ESP32-S3 with PSRAM",
        8 * MIB,
        True,
        "Octal PSRAM of the module ESP32-S3-WROOM-1-N16R8 (data sheet of the module).",
    ),
    Device(
        "duo",
        "Milk-V Duo",
        64 * MIB,
        False,
        "DDR2 memory within the SoC CV1800B of this Linux board (product page).",
    ),
    Device(
        "pizero2w",
        "Raspberry Pi Zero 2 W",
        512 * MIB,
        False,
        "LPDDR2 memory of the board (product brief).",
    ),
    Device(
        "pi5",
        "Raspberry Pi 5",
        8 * GIB,
        False,
        "LPDDR4X memory of the 8 GB version (product brief).",
    ),
    Device(
        "orinnano",
        "Jetson Orin Nano",
        8 * GIB,
        False,
        "LPDDR5 memory, shared by processor and graphics (NVIDIA, 8 GB module).",
    ),
    Device("laptop", "Laptop", 16 * GIB, False, "A usual amount of memory today."),
)


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """Bytes that training holds at once, at the end of a forward pass, 4 bytes per number.

    Attributes:
        activation_bytes: the trained layers' inputs as the method keeps them, and the classifier's
            input. What a framework also keeps for activation functions and normalisations is
            not included.
        weight_bytes, gradient_bytes: of the trained parameters.
        optimiser_bytes: one number per parameter for momentum; plain SGD keeps nothing.
        frozen_bytes: weights that only the forward pass reads; not included in the total.
    """

    activation_bytes: int
    weight_bytes: int
    gradient_bytes: int
    optimiser_bytes: int
    frozen_bytes: int

    @property
    def total_bytes(self) -> int:
        """All except the frozen weights."""
        trained = self.weight_bytes + self.gradient_bytes + self.optimiser_bytes
        return self.activation_bytes + trained

    def least(self, *, frozen_in_flash: bool) -> int:
        """What training needs at least, with frozen weights where they do not lie in flash."""
        return self.total_bytes + (0 if frozen_in_flash else self.frozen_bytes)


def training_memory(
    cost: StepCost,
    model: str,
    *,
    layers: int | str,
    batch_size: int,
    classes: int,
    momentum: bool = False,
) -> TrainingMemory:
    """Memory of the trained part of a zoo model in a training step that costs `cost`.

    Args:
        classes: outputs of the new classifier.
        momentum: whether the optimiser has momentum.

    Raises:
        InvalidInput: if there is no such model, or it has fewer layers.
    """
    parameters = parameter_count(model, layers, classes)
    trained = parameters.head + cost.numbers.trained
    frozen = parameters.frozen + cost.numbers.frozen
    weights = ELEMENT_BYTES * trained
    head_input = ELEMENT_BYTES * batch_size * _trained_head_features(model_card(model))
    return TrainingMemory(
        activation_bytes=cost.activation_bytes + head_input,
        weight_bytes=weights,
        gradient_bytes=weights,
        optimiser_bytes=weights if momentum else 0,
        frozen_bytes=ELEMENT_BYTES * frozen,
    )


def _trained_head_features(card: ModelCard) -> int:
    """Inputs of the new classifier; a language model has none."""
    return 0 if card.reads == "tokens" else card.head_features
