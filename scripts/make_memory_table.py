"""Write the table of docs/memory.md: bytes that the last layers of all models really keep.

    python scripts/make_memory_table.py

Every row is measured in one real training step on this machine by two independent meters. Weights
are random: with given ranks they do not change the number of bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from asi_core.methods import METHODS  # noqa: E402
from asi_core.training.features import FeaturePool  # noqa: E402
from asi_core.training.measuring import measure  # noqa: E402
from asi_core.training.spec import RunSpec  # noqa: E402
from asi_core.units import GIB, MIB, by_formula  # noqa: E402
from asi_core.zoo.cards import MODELS, ModelCard  # noqa: E402

LAYERS, BATCH, RANKS = 4, 16, (8, 16, 4, 4)

HEADER = """# What a training step really keeps

Formulas count the inputs of the trained layers. PyTorch keeps more: activation functions and
normalisations save tensors for their own gradients, independent of the trained layers. Lean
ones, the default here, save only what is necessary. This table shows all of it, for the last
{layers} trainable layers of every model and a new classifier with 10 classes, at batch {batch} and
each model's own image size, in MiB. ASI and HOSVD have ranks {ranks} (batch, channel, height,
width; as many as the layer has modes).

`formula` and `trained layer inputs` agree to the byte in every row except checkpointing's in
transformers, where a block's input, of the same size, is kept instead of its first trained
layer's: that is tested. The other columns are measured too, with lean layers, each storage once,
parameters and buffers excluded, and two independent counts agree on the totals. The last column is
the same step in plain PyTorch layers. Gradient filtering has no rows for transformers: it averages
over image patches, which their linear layers do not have.

Written by `python scripts/make_memory_table.py`.

"""
# The sections after the table.
OTHERS = "\n## Transformers\n"
COLUMNS = (
    "trained layer inputs",
    "other layer inputs",
    "activation functions",
    "normalisation",
    "pooling",
    "head and loss",
    "other",
)


def main() -> None:
    lines = [HEADER.format(layers=LAYERS, batch=BATCH, ranks=" x ".join(map(str, RANKS)))]
    titles = ("model", "method", "formula", *COLUMNS, "all, lean", "all, plain")
    lines.append(f"| {' | '.join(titles)} |\n|{'---|' * 2}{'--:|' * (len(titles) - 2)}\n")
    pool = FeaturePool(4 * GIB)
    for card in MODELS.values():
        for kind, method in METHODS.items():
            if method.why_unsupported(card.usual_geometry) is None:
                lines.append(row(card, kind, pool))
                print(lines[-1], end="")
    page = ROOT / "docs" / "memory.md"
    # Written by a script of its own.
    others = page.read_text().partition(OTHERS)
    page.write_text("".join([*lines, *others[1:]]))


def row(card: ModelCard, kind: str, pool: FeaturePool) -> str:
    settings: dict[str, Any] = {"kind": kind}
    if "ranks" in METHODS[kind].model_fields:
        settings["ranks"] = RANKS[: card.modes]
    spec = RunSpec.model_validate(
        {
            "model": card.name,
            "method": settings,
            "pretrained": False,
            "layers": LAYERS,
            "batch_size": BATCH,
            "image_size": card.native_size,
        }
    )
    lean, plain = (
        measure(spec.model_copy(update={"lean": is_lean}), pool).as_dict()
        for is_lean in (True, False)
    )
    saved = lean["saved_bytes"]
    sizes = [*(saved["by_category"][name] for name in COLUMNS), saved["total"]]
    sizes.append(plain["saved_bytes"]["total"])
    formula = by_formula(lean["formula_bytes"], mib)
    cells = [card.title, METHODS[kind].label, formula, *map(mib, sizes)]
    return f"| {' | '.join(cells)} |\n"


def mib(size: float) -> str:
    return f"{size / MIB:.3f}"


if __name__ == "__main__":
    main()
