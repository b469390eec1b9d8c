"""Networks of transformers: image classifiers, and decoders from a configuration."""

from __future__ import annotations

import logging
from typing import Any, cast

from torch import Tensor, nn

from asi_core.errors import AsiError, Unavailable, Unsupported, one_sentence
from asi_core.zoo.cards import WeightFile
from asi_core.zoo.configurations import PREFIX, configuration_file, read_configuration

log = logging.getLogger(__name__)

# Of the photographs on which most networks are trained.
IMAGENET_MEAN, IMAGENET_STD, USUAL_SIZE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224


class Logits(nn.Module):
    """An image classifier of transformers that takes and returns tensors."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(pixel_values=images).logits
        return logits


def reads_tokens(name: str) -> bool:
    """Whether this is the name of a decoder of transformers.

    Raises:
        InvalidInput, Unavailable, Unsupported: if there is no configuration of that name that
            transformers knows.
    """
    return name.startswith(("hf/", PREFIX)) and _is_decoder(name, configuration_of(name))


def built_from_configuration(name: str) -> nn.Module:
    """The network that a configuration describes, with untrained parameters.

    A decoder is as transformers builds it; an image classifier takes and returns tensors.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageClassification

    config = configuration_of(name)
    if not _is_decoder(name, config):
        return Logits(AutoModelForImageClassification.from_config(config))
    # What is kept from one text's tokens to the next is no part of training.
    config.use_cache = False
    decoder: nn.Module = AutoModelForCausalLM.from_config(
        config,
        trust_remote_code=False,
        # Of the implementations those that look at no tensor's content, and run on all devices.
        attn_implementation="eager",
        experts_implementation="batched_mm",
    )
    return decoder


def configuration_of(name: str) -> Any:
    """transformers' configuration of a network, from its file or the hub.

    Raises:
        InvalidInput: if the file is no configuration, or names code of its own.
        Unavailable: if there is neither.
        Unsupported: if transformers does not know the architecture.
    """
    from transformers import AutoConfig

    path = configuration_file(name)
    try:
        if path is not None:
            found = read_configuration(name, path)
            return AutoConfig.for_model(found.pop("model_type"), **found)
        return AutoConfig.from_pretrained(name.partition("/")[2], trust_remote_code=False)
    except AsiError:
        raise
    except Exception as error:
        why = one_sentence(error)[:200].rstrip(".")
        if path is not None:
            raise Unsupported(
                f"transformers cannot read the configuration {name} ({why})."
            ) from error
        raise Unavailable(
            f"the configuration of {name} cannot be had ({why}): connect this machine to the hub, "
            "or name a folder with a config.json."
        ) from error


def pretrained_classifier(own_name: str) -> nn.Module:
    """An image classifier with its published weights; raises whatever the hub's client raises."""
    from transformers import AutoModelForImageClassification

    return Logits(AutoModelForImageClassification.from_pretrained(own_name))


def published_on_the_hub(own_name: str, model: nn.Module) -> dict[str, Any]:
    """Weights, image size and normalisation of an image classifier."""
    licence = f"published as {own_name}, on the hub"
    return {
        "native_size": _image_size(cast(Any, model).model.config),
        **_normalisation(own_name),
        "weights": WeightFile(f"hf/{own_name}", None, None, licence, library=True),
    }


def _is_decoder(name: str, config: Any) -> bool:
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    )

    if type(config) in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        return False
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return True
    raise Unsupported(
        f"{name} is neither an image classifier nor a decoder of transformers, but "
        f"{config.model_type}."
    )


def _image_size(config: Any) -> int:
    size = getattr(config, "image_size", USUAL_SIZE)
    return int(size[0] if isinstance(size, (list, tuple)) else size)


def _normalisation(name: str) -> dict[str, Any]:
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(name)
    except Exception as error:
        log.warning("%s has no image processor: ImageNet's (%s)", name, one_sentence(error)[:80])
        return {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    return {"mean": tuple(processor.image_mean), "std": tuple(processor.image_std)}
