"""Real bytes that a trained tail keeps for backward, and whether lean layers are lossless."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from asi_core.bench.tails import WAYS, Case, Tail

_MEASURED = (
    *("vanilla_nchw", "vanilla_lean", "asi", "asi_half"),
    *("gradient_filter", "eight_bit", "checkpointing"),
)
_BY_FORMULA = ("vanilla_nchw", "asi")


@dataclass(frozen=True, slots=True)
class CaseBytes:
    """Bytes on which two meters agree.

    Attributes:
        formula_bytes: inputs of the trained layers, by formula: in full, and as ASI keeps them.
        saved_bytes: of the whole tail, by configuration.
        lossless: whether lean layers give plain vanilla's loss and gradients bit for bit.
    """

    case: Case
    formula_bytes: dict[str, int]
    saved_bytes: dict[str, int]
    lossless: bool

    def ratio(self, way: str) -> float:
        """Plain vanilla's bytes over those of another configuration."""
        return self.saved_bytes["vanilla_nchw"] / self.saved_bytes[way]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self.case.as_dict(),
            "formula_bytes": self.formula_bytes,
            "saved_bytes": self.saved_bytes,
            "ratios": {name: self.ratio(name) for name in _MEASURED[1:]},
            "lossless": self.lossless,
            "meters_agree": True,
        }


def run(chosen: Sequence[Case], device: torch.device) -> Iterator[CaseBytes]:
    """Count bytes, case by case.

    Raises:
        MetersDisagree: if the two counts differ.
    """
    for case in chosen:
        formula, saved = {}, {}
        for name in _MEASURED:
            tail = Tail(case, WAYS[name], device)
            saved[name] = tail.kept_bytes()
            if name in _BY_FORMULA:
                formula[name] = tail.formula_bytes()
        yield CaseBytes(case, formula, saved, _is_lossless(case, device))


def _is_lossless(case: Case, device: torch.device) -> bool:
    plain = WAYS["vanilla_nchw"]
    twins = [Tail(case, plain, device), Tail(case, plain.made_lean(), device)]
    first, second = (twin.loss_and_gradients() for twin in twins)
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
