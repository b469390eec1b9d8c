"""Shapes of a model's trained layers: from a table for the usual image sizes, else from a trace.

The table is immediate: tracing builds the model and imports torch, which takes seconds.
`scripts/make_layer_shapes.py` writes it and checks every entry against the trace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, TypeAlias

from asi_core.errors import InvalidInput
from asi_core.layers.patterns import ALL, chosen_layers
from asi_core.methods import Method
from asi_core.methods.blocks import related
from asi_core.records import ConvGeometry, Geometry, LayerShape, LinearGeometry
from asi_core.zoo.cards import ModelCard, check_size, chosen_size, model_card
from asi_core.zoo.outside import edition, is_outside, outside_rows

TABLE = "facts/layer_shapes.json"
_SIZES = tuple(range(32, 257, 32))
_Sizes: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """The table's entry for one layer.

    Attributes:
        has_bias: whether a bias is trained besides the weight.
        sources: names of the layers whose results its input depends on: if one of them is trained,
            the input needs a gradient.
        input_id: key shared by layers that read the same tensor, else None (`LayerShape`).
        sizes: image size, or tokens -> sizes of input and output without the batch.
    """

    name: str
    weight_shape: tuple[int, ...]
    geometry: Geometry
    has_bias: bool
    sources: frozenset[str]
    input_id: str | None
    sizes: Mapping[int, _Sizes]


def tabled_sizes(card: ModelCard) -> tuple[int, ...]:
    """Image sizes in the table for the model, pixels, ascending; only the native size for a model
    that is not in the table."""
    return (card.native_size,) if card.fixed_size else tuple(sorted({*_SIZES, card.native_size}))


def layer_facts(name: str) -> tuple[LayerFacts, ...]:
    """The table's entries for a model, in registration order."""
    return _facts_of_edition(name, edition(name))


@cache
def _facts_of_edition(name: str, edition: str) -> tuple[LayerFacts, ...]:
    rows = _rows(model_card(name).name)
    return tuple(_facts(row, _sources(rows, at)) for at, row in enumerate(rows))


def _sources(rows: list[dict[str, Any]], at: int) -> frozenset[str]:
    """Names of all layers whose results the input of the layer at `at` depends on."""
    found: set[int] = set()
    waiting = list(rows[at]["after"])
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            waiting += rows[source]["after"]
    return frozenset(rows[source]["name"] for source in found)


def chosen_facts(name: str, layers: int | str) -> tuple[LayerFacts, ...]:
    """The entries of the layers that `layers` means (`layers.patterns.chosen_layers`), in
    registration order.

    Raises:
        InvalidInput: if there is no such model, it has fewer layers, or none that a pattern means.
    """
    card, facts = model_card(name), layer_facts(name)
    if isinstance(layers, int) or layers == ALL:
        return facts[card.layer_count - card.checked_layers(layers) :]
    chosen = set(chosen_layers([layer.name for layer in facts], layers))
    return tuple(layer for layer in facts if layer.name in chosen)


def why_unsupported(method: Method | type[Method], name: str, layers: int | str) -> str | None:
    """Why a method does not support trained layers of a model; None if it does.

    For layers that are counted from the last, it must support the usual layer of the model.
    """
    if isinstance(layers, int) or layers == ALL:
        return method.why_unsupported(model_card(name).usual_geometry)
    chosen = chosen_facts(name, layers)
    whys = (method.why_unsupported_layer(layer.geometry, layer.weight_shape) for layer in chosen)
    return next(filter(None, whys), None)


def trained_layer_shapes(
    name: str,
    layers: int | str,
    batch_size: int,
    image_size: int | None = None,
    *,
    tokens: int | None = None,
) -> tuple[LayerShape, ...]:
    """Shapes of trainable layers of a model, in registration order.

    Args:
        layers: how many of the last, "all", or names and patterns (`patterns.chosen_layers`).
        image_size: of a network that reads images, pixels.
        tokens: of a language model: of each text of the batch.

    Raises:
        InvalidInput: if there is no such model, it has no such layers or does not accept such
            images or texts, the batch is empty, or a size is missing or meaningless.
    """
    size = chosen_size(model_card(name), {"images": image_size, "tokens": tokens})
    return _shapes_of_edition(name, layers, batch_size, size, edition(name))


@lru_cache(maxsize=1024)
def _shapes_of_edition(
    name: str, layers: int | str, batch_size: int, size: int, edition: str
) -> tuple[LayerShape, ...]:
    card = model_card(name)
    if isinstance(layers, int) or layers == ALL:
        # Before anything is traced.
        card.checked_layers(layers)
    check_size(card, size)
    if batch_size < 1:
        raise InvalidInput("batch size must be at least 1", batch_size, "choose 1 or more")
    if card.reads == "images" and size not in _sizes_at_hand(card.name):
        from asi_core.zoo.tracing import traced_layer_shapes

        return traced_layer_shapes(name, layers, batch_size, size)
    trained = chosen_facts(name, layers)
    names = frozenset(facts.name for facts in trained)
    sizes = _of_any_length if card.reads == "tokens" else _of_images
    return related(_shape(facts, names, batch_size, sizes(facts, size)) for facts in trained)


def _of_images(facts: LayerFacts, side: int) -> _Sizes:
    return facts.sizes[side]


def _of_any_length(facts: LayerFacts, tokens: int) -> _Sizes:
    """For texts: of layers that read tokens x features, one length tells all others."""
    ((_, inputs), (_, outputs)) = next(iter(facts.sizes.values()))
    return (tokens, inputs), (tokens, outputs)


def _shape(
    facts: LayerFacts, trained: frozenset[str], batch_size: int, sizes: _Sizes
) -> LayerShape:
    inputs, outputs = sizes
    return LayerShape(
        name=facts.name,
        input_shape=(batch_size, *inputs),
        output_shape=(batch_size, *outputs),
        weight_shape=facts.weight_shape,
        geometry=facts.geometry,
        has_input_gradient=not trained.isdisjoint(facts.sources),
        input_id=facts.input_id,
        has_bias=facts.has_bias,
    )


def _rows(name: str) -> list[dict[str, Any]]:
    if name in _table():
        return _table()[name]
    if is_outside(name):
        return outside_rows(name)
    from asi_core.zoo.tracing import traced_rows

    return traced_rows(name)


@cache
def _sizes_at_hand(name: str) -> frozenset[int]:
    """Image sizes of which all calls of all layers are known without a trace."""
    if name not in _table():
        return frozenset()
    return frozenset.intersection(*(frozenset(facts.sizes) for facts in layer_facts(name)))


@cache
def _table() -> dict[str, list[dict[str, Any]]]:
    text = files("asi_core").joinpath(TABLE).read_text(encoding="utf-8")
    models: dict[str, list[dict[str, Any]]] = json.loads(text)["models"]
    return models


def _facts(row: Mapping[str, Any], sources: frozenset[str]) -> LayerFacts:
    return LayerFacts(
        name=row["name"],
        weight_shape=tuple(row["weight"]),
        geometry=_geometry(row["geometry"]),
        has_bias=row["bias"],
        sources=sources,
        input_id=row.get("input_id"),
        sizes={
            int(size): (tuple(inputs), tuple(outputs))
            for size, (inputs, outputs) in row["sizes"].items()
        },
    )


def _geometry(row: Mapping[str, Any] | None) -> Geometry:
    if row is None:
        return LinearGeometry()
    stride, padding, dilation = (tuple(row[k]) for k in ("stride", "padding", "dilation"))
    return ConvGeometry(stride, padding, dilation, row["groups"])
