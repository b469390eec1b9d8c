"""What lean settings save in transformers, what they cost, and how far gradients are off.

    python -m benchmarks.transformers [--only NAME ...] [--rounds N] [--write]

The last four linear layers of the MLPs of torchvision's ViT-B/32 and Swin-T are trained, with a new
classifier, at batch 32 and 224 pixels, with ASI at rank 16. Per setting: bytes that one step keeps
for backward, by two independent meters; the time of a step of the trained part (forward and
backward from the kept values of the frozen part), as a multiple of plain fine-tuning's, medians of
rounds in which all settings take turns; and how far the gradients are off that a setting makes
approximate, with exact trained layers, relative to plain PyTorch's. Weights are random.

`--write` writes the table into docs/memory.md.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asi_core import Compression, prepare_
from asi_core.costs.measurement import kept_bytes
from asi_core.training.checkpointing import repeated_blocks
from asi_core.training.frozen import frozen_start
from asi_core.units import MIB
from asi_core.zoo.build import build_model
from asi_core.zoo.cards import ModelCard, model_card
from benchmarks.marked import write_table

NAMES = ("torchvision/vit_b_32", "torchvision/swin_t")
_LAYERS, _CLASSES, _BATCH, _SIZE, _RANK, _WARM_UPS = 4, 10, 32, 224, 16, 1


@dataclass(frozen=True)
class Setting:
    """How one row of the table is prepared.

    Attributes:
        repeats_blocks: whether the blocks of plain layers are checkpointed.
    """

    label: str
    compresses: bool = True
    lean: dict[str, Any] = field(default_factory=dict)
    repeats_blocks: bool = False


SETTINGS = (
    Setting("plain PyTorch", compresses=False, lean={"lean": False}),
    Setting("plain, blocks checkpointed", False, {"lean": False}, repeats_blocks=True),
    Setting("ASI, plain layers", lean={"lean": False}),
    Setting("ASI, lean"),
    Setting("ASI, `recompute_attention`", lean={"recompute_attention": True}),
    Setting("ASI, `activation_bits=8`", lean={"activation_bits": 8}),
    *(
        Setting(
            f"ASI, `activation_bits={bits}, recompute_attention`",
            lean={"activation_bits": bits, "recompute_attention": True},
        )
        for bits in (8, 4)
    ),
)


@dataclass(frozen=True)
class Case:
    """The trained part of a prepared network, and its inputs.

    Attributes:
        values: of the frozen part, for one batch.
    """

    tail: nn.Module
    names: list[str]
    head: str
    values: tuple[Tensor, ...]

    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(value.clone() for value in self.values)

    def step(self) -> None:
        """Forward and backward."""
        self.tail.zero_grad()
        loss(self.tail(*self.values)).backward()

    def gradients(self) -> Tensor:
        """Of all trained parameters, in one row."""
        self.step()
        trained = [p for p in self.tail.parameters() if p.requires_grad]
        return torch.cat([p.grad.flatten() for p in trained if p.grad is not None])


def loss(logits: Tensor) -> Tensor:
    return F.cross_entropy(logits, torch.arange(len(logits)) % _CLASSES)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        off: the relative error of the gradients that the setting makes approximate; None where
            they are exact.
    """

    network: str
    label: str
    nbytes: int
    seconds: float
    off: float | None


def case(name: str, setting: Setting) -> Case:
    """A network with a setting, split where training begins."""
    card = model_card(name)
    names = list(card.layer_names[-_LAYERS:])
    found = case_of(name, _config(card, names, setting), names, _BATCH)
    if setting.repeats_blocks:
        found = replace(found, tail=repeated_blocks(found.tail, names))
    return found


def case_of(name: str, config: Compression, names: list[str], batch: int) -> Case:
    """A network that is prepared as `config` says, split where training begins."""
    generator = torch.Generator().manual_seed(0)
    model = build_model(name, _CLASSES, seed=0, pretrained=False)
    prepare_(model, config)
    start = frozen_start(model)
    assert start.parts is not None, start.why_whole
    images = torch.randn(batch, 3, _SIZE, _SIZE, generator=generator)
    with torch.no_grad():
        values = start.parts.prefix(images)
    values = values if isinstance(values, tuple) else (values,)
    return Case(start.tail, names, model_card(name).head, values)


def _config(card: ModelCard, names: list[str], setting: Setting) -> Compression:
    own: dict[str, Any] = {"layers": names, "also_trained": [card.head], **setting.lean}
    if setting.compresses:
        return Compression("asi", ranks=_RANK, update="every_step", **own)
    return Compression("vanilla", **own)


def rows(name: str, rounds: int) -> list[Row]:
    """All settings of one network."""
    cases = {setting.label: case(name, setting) for setting in SETTINGS}
    kept = {
        label: kept_bytes(c.tail, c.inputs, loss, c.names, c.head) for label, c in cases.items()
    }
    seconds = seconds_of(cases, rounds)
    plain = cases[SETTINGS[0].label].gradients()
    title = model_card(name).title
    return [
        Row(title, s.label, kept[s.label], seconds[s.label], _off(name, s, plain)) for s in SETTINGS
    ]


def seconds_of(cases: Mapping[str, Case], rounds: int) -> dict[str, float]:
    """The median time of a step; the settings take turns."""
    found: dict[str, list[float]] = {label: [] for label in cases}
    for turn in range(_WARM_UPS + rounds):
        for label, one in cases.items():
            began = time.perf_counter()
            one.step()
            if turn >= _WARM_UPS:
                found[label].append(time.perf_counter() - began)
    return {label: median(times) for label, times in found.items()}


def _off(name: str, setting: Setting, plain: Tensor) -> float | None:
    """The error that the lean setting alone makes: the trained layers keep all of their inputs."""
    if "activation_bits" not in setting.lean:
        return None
    found = case(name, Setting("", compresses=False, lean=setting.lean)).gradients()
    return float((found - plain).norm() / plain.norm())


def table(found: Sequence[Row]) -> str:
    """The section of docs/memory.md."""
    lines = []
    for row in found:
        first = next(r for r in found if r.network == row.network)
        off = "exact" if row.off is None else f"{100 * row.off:.2f} %"
        lines.append(
            f"| {row.network} | {row.label} | {row.nbytes / MIB:.1f} | "
            f"{first.nbytes / row.nbytes:.1f}x | {row.seconds / first.seconds:.2f} | {off} |"
        )
    return "\n".join(
        (
            "| network | setting | kept, MiB | times less | time of a step | other gradients |",
            "|---|---|--:|--:|--:|--:|",
            *lines,
        )
    )


def main() -> int:
    """Measure, print, and write if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=NAMES, help="names of networks")
    parser.add_argument("--rounds", type=int, default=7, help="timed steps of each setting")
    parser.add_argument("--write", action="store_true", help="write the table into docs/memory.md")
    options = parser.parse_args()
    found: list[Row] = []
    for name in options.only:
        found += rows(name, options.rounds)
        gc.collect()
    print(table(found))
    if options.write:
        write_table("memory.md", "transformers", table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
