"""Write asi_core/facts/layer_shapes.json: shapes of all trainable layers of every model.

    python scripts/make_layer_shapes.py           write the table, then check it
    python scripts/make_layer_shapes.py --check   check the existing table

The check traces every model at every size, and with every number of trained layers at one size.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from asi_core.records import ConvGeometry, LayerShape  # noqa: E402
from asi_core.zoo.build import build_architecture  # noqa: E402
from asi_core.zoo.cards import MODELS, ModelCard  # noqa: E402
from asi_core.zoo.shapes import TABLE, tabled_sizes, trained_layer_shapes  # noqa: E402
from asi_core.zoo.tracing import traced_layer_shapes  # noqa: E402

NOTE = "Traced on the meta device by scripts/make_layer_shapes.py; sizes are without the batch."


def make() -> dict[str, Any]:
    """The whole table."""
    return {"note": NOTE, "models": {card.name: model_rows(card) for card in MODELS.values()}}


def model_rows(card: ModelCard) -> list[dict[str, Any]]:
    """One row per layer."""
    sizes = {size: traced_layer_shapes(card.name, "all", 1, size) for size in tabled_sizes(card)}
    first, biases = first_gradients(card), bias_names(card)
    return [
        {
            "name": shape.name,
            "weight": shape.weight_shape,
            "geometry": geometry_row(shape),
            "bias": shape.name in biases,
            "input_gradient_from": first.get(shape.name),
            **({} if shape.input_id is None else {"input_id": shape.input_id}),
            "sizes": {
                str(size): [shapes[at].input_shape[1:], shapes[at].output_shape[1:]]
                for size, shapes in sizes.items()
            },
        }
        for at, shape in enumerate(sizes[card.native_size])
    ]


def geometry_row(shape: LayerShape) -> dict[str, Any] | None:
    """A convolution's geometry; None for a linear layer."""
    return shape.geometry._asdict() if isinstance(shape.geometry, ConvGeometry) else None


def first_gradients(card: ModelCard) -> dict[str, int]:
    """By layer, the smallest number of trained layers at which its input needs a gradient."""
    first: dict[str, int] = {}
    for count in range(1, card.layer_count + 1):
        for shape in traced_layer_shapes(card.name, count, 1, tabled_sizes(card)[0]):
            if shape.has_input_gradient:
                first.setdefault(shape.name, count)
    return first


def bias_names(card: ModelCard) -> set[str]:
    """Trainable layers that have a bias."""
    with torch.device("meta"):
        modules = list(build_architecture(card).named_modules())
    trainable = set(card.trainable_names(modules))
    return {name for name, layer in modules if name in trainable and layer.bias is not None}


def check(card: ModelCard) -> int:
    """Compare the table with traces; returns the number of layers compared."""
    cases = [("all", 3, size) for size in tabled_sizes(card)]
    cases += [(count, 2, tabled_sizes(card)[0]) for count in range(card.layer_count + 1)]
    compared = 0
    for layers, batch, size in cases:
        found = trained_layer_shapes(card.name, layers, batch, size)
        expected = traced_layer_shapes(card.name, layers, batch, size)
        if found != expected:
            raise SystemExit(f"{card.name}: {layers} layers at {size} pixels differ from the trace")
        compared += len(found)
    return compared


def main() -> None:
    """Write and check, or only check."""
    if sys.argv[1:] != ["--check"]:
        rows = json.dumps(make(), separators=(",", ":")).replace('{"name"', '\n{"name"')
        (ROOT / "asi_core" / TABLE).write_text(rows + "\n")
    for card in MODELS.values():
        print(f"{card.title}: {check(card)} layer shapes equal the trace")


if __name__ == "__main__":
    main()
