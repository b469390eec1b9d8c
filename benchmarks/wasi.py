"""WASI beside ASI and vanilla in two transformers: bytes, multiply-accumulates and step time.

    python -m benchmarks.wasi [--only NAME ...] [--batch 128] [--rounds N] [--write]

The linear layers of the MLPs of torchvision's ViT-B/32 and Swin-T, with random weights, at 224
pixels. Activations have rank 16, weights rank 64: with random weights no share of variance means
anything. Formula: what the trained layers keep, and their multiply-accumulates (exact convention),
of the last four and of all of these layers. Measured, of the last four: what one step of the
trained part keeps for backward, lean layers and `recompute_attention`, by two meters that agree,
and the time of a step (forward and backward), medians of rounds in which all methods take turns.

`--write` writes the table into docs/memory.md.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from asi_core import Compression, estimate
from asi_core.costs.measurement import kept_bytes
from asi_core.methods import REFERENCE_KIND
from asi_core.methods.registry import METHOD_ADAPTER
from asi_core.units import MIB, three_digits
from asi_core.zoo.cards import model_card
from benchmarks.marked import write_table
from benchmarks.transformers import NAMES, Case, case_of, loss, seconds_of

_LAST, _SIZE = 4, 224
METHODS: Mapping[str, dict[str, Any]] = {
    "Vanilla": {"kind": REFERENCE_KIND},
    "ASI": {"kind": "asi", "ranks": 16, "update": "every_step"},
    "WASI": {"kind": "wasi", "ranks": 16, "weight_rank": 64, "update": "every_step"},
}


@dataclass(frozen=True)
class Formula:
    """What some trained layers keep and compute in a step."""

    activation_bytes: int
    macs: int


def formula(name: str, method: Mapping[str, Any], layers: int, batch: int) -> Formula:
    """Of the last `layers` linear layers of the MLPs."""
    cost = estimate(
        name,
        METHOD_ADAPTER.validate_python(method),
        layers=layers,
        batch_size=batch,
        image_size=_SIZE,
        convention="exact",
    )
    return Formula(cost.activation_bytes, cost.macs.total)


def cases(name: str, batch: int) -> dict[str, Case]:
    """The last layers with each method."""
    card = model_card(name)
    names = list(card.layer_names[-_LAST:])
    own = {"layers": names, "also_trained": [card.head]}
    return {
        label: case_of(name, _config(given, own), names, batch) for label, given in METHODS.items()
    }


def _config(given: Mapping[str, Any], own: Mapping[str, Any]) -> Compression:
    settings = {key: value for key, value in given.items() if key != "kind"}
    is_plain = given["kind"] == REFERENCE_KIND
    return Compression(given["kind"], **settings, **own, recompute_attention=not is_plain)


def rows(name: str, batch: int, rounds: int) -> Iterator[str]:
    """The lines of one network."""
    card = model_card(name)
    measured = cases(name, batch)
    kept = {k: kept_bytes(c.tail, c.inputs, loss, c.names, c.head) for k, c in measured.items()}
    seconds = seconds_of(measured, rounds)
    first = next(iter(METHODS))
    for label, method in METHODS.items():
        cells = [card.title, label]
        for layers in (_LAST, card.layer_count):
            found, whole = (formula(name, m, layers, batch) for m in (method, METHODS[first]))
            less = whole.activation_bytes / found.activation_bytes
            cells.append(f"{found.activation_bytes / MIB:.2f} ({three_digits(less)}x)")
            cells.append(f"{three_digits(whole.macs / found.macs)}x")
        cells.append(f"{kept[label] / MIB:.1f} ({three_digits(kept[first] / kept[label])}x)")
        cells.append(f"{seconds[first] / seconds[label]:.2f}x")
        yield f"| {' | '.join(cells)} |"


def table(names: list[str], batch: int, rounds: int) -> str:
    """The section of docs/memory.md."""
    lines = []
    for name in names:
        lines += rows(name, batch, rounds)
        gc.collect()
    header = (
        *("network", "method", "inputs kept, last 4, MiB", "fewer MACs", "inputs kept, all, MiB"),
        *("fewer MACs", "all kept, last 4, measured, MiB", "faster, last 4, measured"),
    )
    return "\n".join((f"| {' | '.join(header)} |", "|---|---|" + "--:|" * 6, *lines))


def main() -> int:
    """Count, time, print, and write if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(NAMES), help="names of networks")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of each method")
    parser.add_argument("--write", action="store_true", help="write the table into docs/memory.md")
    options = parser.parse_args()
    found = table(options.only, options.batch, options.rounds)
    print(found)
    if options.write:
        write_table("memory.md", "wasi", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
