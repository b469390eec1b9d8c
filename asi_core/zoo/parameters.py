"""Numbers of trained and frozen parameters, from the cards alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from asi_core.zoo.cards import ModelCard, model_card
from asi_core.zoo.shapes import chosen_facts

_PUBLISHED_CLASSES = 1000


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """Parameters of a model with a new classifier; normalisations count as frozen.

    Attributes:
        layers: of the trained layers, weights and biases.
        head: of the new classifier; 0 for a language model, which has none.
        frozen: of all others.
    """

    layers: int
    head: int
    frozen: int

    @property
    def trained(self) -> int:
        return self.layers + self.head


def parameter_count(name: str, layers: int | str, classes: int) -> ParameterCount:
    """Parameters of a zoo model with trained `layers` (`chosen_facts`) and a classifier for
    `classes`.

    Raises:
        InvalidInput: if there is no such model, or it has no such layers.
    """
    card = model_card(name)
    trained = chosen_facts(name, layers)
    in_layers = sum(
        prod(facts.weight_shape) + facts.weight_shape[0] * facts.has_bias for facts in trained
    )
    if card.reads == "tokens":
        return ParameterCount(in_layers, 0, card.parameter_count - in_layers)
    backbone = card.parameter_count - _head_parameters(card, _PUBLISHED_CLASSES)
    return ParameterCount(in_layers, _head_parameters(card, classes), backbone - in_layers)


def _head_parameters(card: ModelCard, classes: int) -> int:
    return (card.head_features + len(card.heads)) * classes
