"""The poster's table, recomputed cell by cell.

The printed numbers and their source are in `facts/poster_table.json`. Every number that follows
from shapes and formulas is recomputed and compared with the printed one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from math import ceil
from typing import Any, Literal

from asi_core.costs.accounting import StepCost
from asi_core.costs.estimate import estimate
from asi_core.methods import ASI, HOSVD, GradientFilter, Method, Vanilla
from asi_core.records import Convention
from asi_core.units import MIB

# The poster does not print ranks, so ASI's cells and HOSVD's memory cannot be recomputed. The cost
# of HOSVD hardly depends on ranks (its decompositions are of the full tensor).
_ASSUMED_RANK = 8
_PRINTED_DIGITS = 2

Verdict = Literal["exact", "close", "not computable"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the table.

    Attributes:
        printed: the poster's number.
        computed: the recomputed number; None where it cannot be computed.
        verdict: "exact" where both agree to the printed digits.
        note: why it is not exact.
    """

    printed: float
    computed: float | None
    verdict: Verdict
    note: str

    def text(self) -> str:
        """The cell in one line: printed, computed, verdict."""
        if self.computed is None:
            return f"{self.printed:.2f}: not computable"
        if self.verdict == "exact":
            return f"{self.printed:.2f}: exact"
        return f"{self.printed:.2f}: {self.computed:.2f}, {self.distance}"

    @property
    def distance(self) -> str:
        """The deviation as text: "within x %"."""
        assert self.deviation is not None
        share = 100 * abs(self.deviation)
        return f"within {ceil(100 * share) / 100:.2f} %"

    @property
    def deviation(self) -> float | None:
        """Relative difference of the computed number from the printed one."""
        return None if self.computed is None else self.computed / self.printed - 1


@dataclass(frozen=True, slots=True)
class Row:
    """One row: activation memory in MiB, cost in 1e9 multiply-accumulates per step."""

    model: str
    method: str
    layers: int | Literal["all"]
    top1: float
    memory: Cell
    cost: Cell

    def as_dict(self) -> dict[str, Any]:
        """The row as a JSON-serialisable dict."""
        row = asdict(self)
        for name, cell in (("memory", self.memory), ("cost", self.cost)):
            row[name]["deviation"] = cell.deviation
        return row


@cache
def poster_facts() -> dict[str, Any]:
    """The printed table, its setting and its headline claims."""
    text = files("asi_core").joinpath("facts/poster_table.json").read_text(encoding="utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts


def poster_rows(convention: Convention) -> list[Row]:
    """Every row of the table, with the numbers recomputed in `convention`."""
    return [_row(facts, convention) for facts in poster_facts()["rows"]]


def _row(facts: dict[str, Any], convention: Convention) -> Row:
    method, layers = facts["method"], facts["layers"]
    cost = _cost_of(facts, convention)
    memory_mib, giga_macs = cost.activation_bytes / MIB, cost.macs.total / 1e9
    has_ranks = method in ("asi", "hosvd_0.8")
    if has_ranks:
        memory = _unknown(facts["activation_mb"], "depends on ranks, which the poster leaves out")
    else:
        memory = _compared(facts["activation_mb"], memory_mib, convention)
    if method == "asi":
        work = _unknown(facts["gflops"], "depends on ranks, which the poster leaves out")
    elif method == "hosvd_0.8":
        assumed = f"with rank {_ASSUMED_RANK} in every mode: the rank-dependent part is below 0.5 %"
        work = _compared(facts["gflops"], giga_macs, convention, assumed)
    else:
        work = _compared(facts["gflops"], giga_macs, convention)
    return Row(facts["model"], method, layers, facts["top1"], memory, work)


def _cost_of(facts: dict[str, Any], convention: Convention) -> StepCost:
    setting = poster_facts()["setting"]
    return estimate(
        facts["model"],
        _METHODS[facts["method"]],
        layers=facts["layers"],
        batch_size=setting["batch_size"],
        image_size=setting["image_size"],
        convention=convention,
    )


def _compared(printed: float, computed: float, convention: Convention, note: str = "") -> Cell:
    if round(computed, _PRINTED_DIGITS) == printed:
        return Cell(printed, computed, "exact", note)
    if not note:
        note = (
            "counts what the code executes, with groups and at output resolution"
            if convention == "exact"
            else "the printed figure differs from the poster's own formula"
        )
    return Cell(printed, computed, "close", note)


def _unknown(printed: float, why: str) -> Cell:
    return Cell(printed, None, "not computable", why)


_METHODS: dict[str, Method] = {
    "vanilla": Vanilla(),
    "gradient_filter_r2": GradientFilter(patch=2),
    "hosvd_0.8": HOSVD(ranks=_ASSUMED_RANK),
    "asi": ASI(ranks=_ASSUMED_RANK, update="every_step"),
}
