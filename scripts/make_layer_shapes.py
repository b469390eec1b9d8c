"""Write asi_core/facts/layer_shapes.json: shapes of all trainable layers of every model.

    python scripts/make_layer_shapes.py           write the table, then check it
    python scripts/make_layer_shapes.py --check   check the existing table

The check traces every model at every size, and at one size with every number of trained layers and
with every layer alone beside the first.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from asi_core.zoo.build import build_architecture  # noqa: E402
from asi_core.zoo.cards import MODELS, ModelCard  # noqa: E402
from asi_core.zoo.making import layer_rows, on_meta  # noqa: E402
from asi_core.zoo.shapes import TABLE, layer_facts, tabled_sizes, trained_layer_shapes  # noqa: E402
from asi_core.zoo.tracing import traced_layer_shapes  # noqa: E402

NOTE = "Traced on the meta device by scripts/make_layer_shapes.py; sizes are without the batch."


def make() -> dict[str, Any]:
    """The whole table."""
    return {"note": NOTE, "models": {card.name: model_rows(card) for card in MODELS.values()}}


def model_rows(card: ModelCard) -> list[dict[str, Any]]:
    """One row per layer."""
    model = on_meta(partial(build_architecture, card)).eval().requires_grad_(False)
    names = card.trainable_names(model.named_modules())
    return layer_rows(model, names, tabled_sizes(card))


def check(card: ModelCard) -> int:
    """Compare the table with traces; returns the number of layers compared."""
    cases: list[tuple[int | str, int, int]] = [("all", 3, size) for size in tabled_sizes(card)]
    cases += [(count, 2, tabled_sizes(card)[0]) for count in range(card.layer_count + 1)]
    first, *others = [facts.name for facts in layer_facts(card.name)]
    cases += [(f"{first} {other}", 2, tabled_sizes(card)[0]) for other in others]
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
