"""Cards of decoders that read tokens, by passes on the meta device.

A decoder of a billion parameters has neither weights there nor does a pass compute anything. All
its layers read batch x tokens x features, so that one pass tells the shapes for any number of
tokens; a second one, of another length, shows that this is so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from asi_core.errors import Unsupported, one_sentence
from asi_core.layers.selection import main_layers
from asi_core.records import LayerShape
from asi_core.zoo.cards import LONGEST_TEXT, ModelCard, WeightFile
from asi_core.zoo.hugging_face import built_from_configuration
from asi_core.zoo.making import (
    about_layers,
    calls_of,
    in_registration_order,
    layer_rows,
    parameters_of,
    traced,
)
from asi_core.zoo.outside import card_as_dict, check_may_build, title_of

_BATCH, _TOKENS, _OTHER_TOKENS = 2, 8, 12


def tokens_pass(model: nn.Module, tokens: int) -> Any:
    """What a decoder gives for a batch of texts of `tokens` tokens."""
    ones = torch.ones(_BATCH, tokens, dtype=torch.long, device="meta")
    # With a mask, as tokenizers give it: without one, transformers looks into the positions.
    return model(input_ids=ones, attention_mask=ones)


def language_facts(name: str) -> dict[str, Any]:
    """The card of a decoder and rows about its layers, for JSON.

    Raises:
        InvalidInput, Unavailable: as `build_outside`.
        Unsupported: if transformers cannot build it without weights, or its layers cannot be
            compressed.
    """
    check_may_build(name)
    model = _built(name)
    called = _called(name, model)
    head, head_features = _head(name, model)
    names = in_registration_order(model, set(main_layers(model, called)) - {head})
    if not names:
        raise Unsupported(f"{name} has no linear layer that could be compressed{_instead(model)}.")
    shapes = traced(model, names, _TOKENS, tokens_pass)
    _check_shapes(name, shapes, _TOKENS)
    _check_shapes(name, traced(model, names, _OTHER_TOKENS, tokens_pass), _OTHER_TOKENS)
    card = ModelCard(
        name=name,
        title=title_of(name),
        factory=name,
        head=head,
        head_features=head_features,
        parameter_count=parameters_of(model),
        native_size=_longest(model),
        reads="tokens",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        weights=WeightFile(f"{name} has none", None, None, "built from a configuration"),
        **about_layers(model, names, shapes),
    )
    return {"card": card_as_dict(card), "layers": layer_rows(model, names, [_TOKENS], tokens_pass)}


def _built(name: str) -> nn.Module:
    # Without the second try of images' networks: built in earnest it might not fit into memory.
    try:
        with torch.device("meta"):
            model = built_from_configuration(name)
    except Exception as error:
        raise Unsupported(
            f"{name} cannot be built without weights ({type(error).__name__}: "
            f"{one_sentence(error)[:200].rstrip('.')})."
        ) from error
    return model.eval().requires_grad_(False)


def _called(name: str, model: nn.Module) -> list[str]:
    try:
        called, output = calls_of(model, lambda: tokens_pass(model, _TOKENS))
    except Exception as error:
        raise Unsupported(
            f"{name} cannot read tokens on the meta device ({type(error).__name__}: "
            f"{one_sentence(error)[:200].rstrip('.')})."
        ) from error
    scores = output.logits
    if not (isinstance(scores, Tensor) and scores.shape[:2] == (_BATCH, _TOKENS)):
        raise Unsupported(f"{name} gives no scores for each token.")
    return called


def _head(name: str, model: nn.Module) -> tuple[str, int]:
    """The layer that scores the next token, and the number of its inputs."""
    scores = cast(Any, model).get_output_embeddings()
    for key, module in model.named_modules():
        if module is scores and isinstance(module, nn.Linear):
            return key, module.in_features
    raise Unsupported(f"{name} has no linear layer that scores the next token.")


def _instead(model: nn.Module) -> str:
    """What GPT-2 and its contemporaries are made of."""
    if any(type(module).__name__ == "Conv1D" for module in model.modules()):
        return ": its blocks are of transformers' Conv1D, and only nn.Linear is compressed"
    return ""


def _check_shapes(name: str, shapes: Sequence[LayerShape], tokens: int) -> None:
    for shape in shapes:
        if shape.input_shape[:-1] != (_BATCH, tokens):
            sizes = " x ".join(map(str, shape.input_shape))
            raise Unsupported(
                f"{name} can only be estimated as a module with an example, by asi_core.estimate: "
                f"{shape.name} reads {sizes} for {_BATCH} texts of {tokens} tokens."
            )


def _longest(model: nn.Module) -> int:
    known = getattr(model.config, "max_position_embeddings", None)
    return min(known, LONGEST_TEXT) if isinstance(known, int) and known > 0 else LONGEST_TEXT
