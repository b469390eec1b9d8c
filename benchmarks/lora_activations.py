"""What LoRA keeps for backward on a ResNet-50, here and in PEFT, beside full fine-tuning.

    python -m benchmarks.lora_activations [--batch 16] [--write]

All convolutions of torchvision's ResNet-50 are trained, or have adapters of rank 8, at 224 pixels
and with random weights. Counted is what one forward pass in training mode keeps for backward: every
storage that autograd saves, without parameters. Needs `peft` (`pip install asi-lab[dev]`).

`--write` writes the table into docs/memory.md.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Iterator

import peft
import torch
from torch import Tensor, nn
from torchvision.models import resnet50

from asi_core import Compression, prepare_
from asi_core.costs.measurement import SavedBytes
from asi_core.units import MIB, three_digits
from benchmarks.marked import write_table

_RANK, _SIZE, _DROPOUT = 8, 224, 0.1


def _plain() -> nn.Module:
    return resnet50(weights=None)


def _names(model: nn.Module) -> list[str]:
    return [name for name, part in model.named_modules() if isinstance(part, nn.Conv2d)]


def _of_peft(dropout: float) -> nn.Module:
    model = _plain()
    config = peft.LoraConfig(r=_RANK, target_modules=_names(model), lora_dropout=dropout)
    found: nn.Module = peft.get_peft_model(model, config)
    return found


def _prepared(kind: str, *, lean: bool) -> nn.Module:
    model = _plain()
    adapters = {} if kind == "vanilla" else {"lora_rank": _RANK}
    # As PEFT leaves them: the normalisations stay in training mode.
    how = {"layers": _names(model), "lean": lean, "fold": False, "freeze_statistics": False}
    prepare_(model, Compression(kind, **adapters, **how))
    return model


CASES: dict[str, Callable[[], nn.Module]] = {
    "Full fine-tuning, PyTorch": _plain,
    "LoRA, PEFT": lambda: _of_peft(0.0),
    f"LoRA with dropout {_DROPOUT}, PEFT": lambda: _of_peft(_DROPOUT),
    "LoRA, here, plain layers": lambda: _prepared("lora", lean=False),
    "LoRA-FA, here, plain layers": lambda: _prepared("lora_fa", lean=False),
    "Full fine-tuning, here": lambda: _prepared("vanilla", lean=True),
    "LoRA, here": lambda: _prepared("lora", lean=True),
    "LoRA-FA, here": lambda: _prepared("lora_fa", lean=True),
}


def kept(model: nn.Module, images: Tensor) -> int:
    """Bytes that one forward pass of `model` keeps for backward."""
    model.train()
    with SavedBytes(model) as saved:
        output = model(images).square().mean()
    total = saved.total
    del output
    return total


def rows(batch: int) -> Iterator[tuple[str, int]]:
    """Label and kept bytes of each case."""
    images = torch.randn(batch, 3, _SIZE, _SIZE, generator=torch.Generator().manual_seed(0))
    for label, make in CASES.items():
        yield label, kept(make(), images)
        gc.collect()


def table(batch: int) -> str:
    """The section of docs/memory.md."""
    found = dict(rows(batch))
    whole = next(iter(found.values()))
    lines = [
        f"| {label} | {nbytes / MIB:.0f} | {three_digits(nbytes / whole)}x |"
        for label, nbytes in found.items()
    ]
    header = f"| ResNet-50, batch {batch} | kept, MiB | of full fine-tuning |"
    return "\n".join((header, "|---|--:|--:|", *lines))


def main() -> int:
    """Count, print, and write if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--write", action="store_true", help="write the table into docs/memory.md")
    options = parser.parse_args()
    found = table(options.batch)
    print(found)
    if options.write:
        write_table("memory.md", "lora", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
