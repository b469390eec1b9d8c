"""The poster's cells as sentences, table rows and figure points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import pandas as pd

from asi_core.figures.poster import PrintedRow
from asi_core.poster import Cell, Row, poster_rows
from asi_core.records import Convention
from asi_core.units import THIN_SPACE, three_digits
from asi_core.zoo.cards import MODELS

Quantity = Literal["memory", "cost"]
METHOD_TITLES = {
    "vanilla": "Vanilla",
    "gradient_filter_r2": "Gradient filter R2",
    "hosvd_0.8": "HOSVD, 0.8",
    "asi": "ASI",
}
_STYLES = {
    "vanilla": "vanilla",
    "gradient_filter_r2": "gradient_filter",
    "hosvd_0.8": "hosvd",
    "asi": "asi",
}
# A larger relative deviation means that something else is counted.
_NEAR = 0.05
UNITS: dict[Quantity, str] = {"memory": "MiB", "cost": "GMACs"}


@lru_cache(maxsize=2)
def all_rows(convention: Convention) -> tuple[Row, ...]:
    """The whole table, cached: shapes and formulas are constant."""
    return tuple(poster_rows(convention))


def chosen_rows(convention: Convention, models: Sequence[str], methods: Sequence[str]) -> list[Row]:
    """The rows of these models and methods; an empty choice means all."""
    return [
        row
        for row in all_rows(convention)
        if (not models or row.model in models) and (not methods or row.method in methods)
    ]


def cells(rows: Sequence[Row]) -> list[Cell]:
    """Memory and cost of each row."""
    return [cell for row in rows for cell in (row.memory, row.cost)]


def counts_of(rows: Sequence[Row]) -> Counter[str]:
    """How many cells have each verdict."""
    return Counter(cell.verdict for cell in cells(rows))


def answer_sentence(rows: Sequence[Row], convention: Convention) -> str:
    """The counts in one sentence."""
    counts, total = counts_of(rows), len(cells(rows))
    if not total:
        return "The poster's table has no such row: choose another model or method."
    computed = total - counts["not computable"]
    if convention == "exact":
        return (
            f"Counted as the code executes it, {counts['exact']} of the {computed} computable "
            f"cells equal the printed digits; {counts['not computable']} of {total} depend on "
            "ranks that the poster does not give."
        )
    rest = [f"{counts['exact']} of {total} cells equal the printed digits"]
    if counts["close"]:
        near = [cell for cell in cells(rows) if cell.verdict == "close"]
        rest.append(f"{len(near)} {max(near, key=_distance).distance}")
    if counts["not computable"]:
        rest.append(f"{counts['not computable']} cannot be computed from what the poster prints")
    return ", ".join(rest[:-1]) + (" and " if len(rest) > 1 else "") + rest[-1] + "."


def verdict_badge(cell: Cell) -> str:
    """A verdict as a badge, with a symbol and a word, so that it does not depend on colour."""
    if cell.verdict == "exact":
        return ":green-badge[✓ exact]"
    if cell.computed is None:
        return ":gray-badge[– not computable]"
    if _distance(cell) <= _NEAR:
        return f":orange-badge[≈ {cell.distance}]"
    ratio, word = cell.printed / cell.computed, "less"
    if ratio < 1:
        ratio, word = 1 / ratio, "more"
    return f":violet-badge[≠ {three_digits(ratio)}{THIN_SPACE}× {word}]"


def shown_table(rows: Sequence[Row]) -> pd.DataFrame:
    """The table for display: numbers as text, verdicts as badges."""
    return pd.DataFrame(
        [
            {
                "Model": MODELS[row.model].title,
                "Method": METHOD_TITLES[row.method],
                "Layers": str(row.layers),
                "Memory printed, MiB": f"{row.memory.printed:.2f}",
                "computed, MiB": _computed(row.memory),
                "Memory": verdict_badge(row.memory),
                "Cost printed, GMACs": f"{row.cost.printed:.2f}",
                "computed, GMACs": _computed(row.cost),
                "Cost": verdict_badge(row.cost),
                "Top-1 printed, %": f"{row.top1:.1f}",
            }
            for row in rows
        ]
    )


def number_table(rows: Sequence[Row]) -> pd.DataFrame:
    """The same as plain numbers, with the reasons."""
    return pd.DataFrame([_numbers(row) for row in rows])


def points(rows: Sequence[Row], quantity: Quantity) -> list[PrintedRow]:
    """The computable cells, for a figure."""
    vanilla = {
        (row.model, row.layers): _cell(row, quantity).printed
        for row in all_rows("paper")
        if row.method == "vanilla"
    }
    return [
        PrintedRow(
            f"{MODELS[row.model].title}, {METHOD_TITLES[row.method]}, {row.layers} layers",
            METHOD_TITLES[row.method],
            _STYLES[row.method],
            cell.printed,
            cell.computed,
            cell.verdict == "exact",
            None if row.method == "vanilla" else vanilla.get((row.model, row.layers)),
        )
        for row in rows
        if (cell := _cell(row, quantity)).computed is not None
    ]


def reasons(rows: Sequence[Row]) -> list[str]:
    """Why cells are not exact, each reason once."""
    return list(dict.fromkeys(c.note for c in cells(rows) if c.note and c.verdict != "exact"))


def _numbers(row: Row) -> dict[str, Any]:
    numbers: dict[str, Any] = {"model": row.model, "method": row.method, "layers": str(row.layers)}
    for quantity, unit in UNITS.items():
        cell = _cell(row, quantity)
        numbers |= {
            f"{quantity}_printed_{unit.lower()}": cell.printed,
            f"{quantity}_computed_{unit.lower()}": cell.computed,
            f"{quantity}_verdict": cell.verdict,
            f"{quantity}_note": cell.note,
        }
    return {**numbers, "top1_printed_percent": row.top1}


def _cell(row: Row, quantity: Quantity) -> Cell:
    return row.memory if quantity == "memory" else row.cost


def _computed(cell: Cell) -> str:
    return "–" if cell.computed is None else f"{cell.computed:.2f}"


def _distance(cell: Cell) -> float:
    return abs(cell.deviation or 0.0)
