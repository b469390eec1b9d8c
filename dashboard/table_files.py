"""Tables as LaTeX, ready for a paper: booktabs, numbers right-aligned, all text escaped."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from asi_core.units import DASH, MINUS, THIN_SPACE

_ESCAPED = {
    "\\": r"\textbackslash{}",
    **{character: rf"\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    THIN_SPACE: r"\,",
    MINUS: "$-$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "✓": r"$\checkmark$",
    "·": r"$\cdot$",
    "°": r"$^\circ$",
    DASH: "--",
}

# Line breaks and tabs, and not the thin space before a unit.
_BLANKS = re.compile(r"[ \t\r\n]+")


def latex_bytes(rows: pd.DataFrame) -> bytes:
    """`rows` without their index as a LaTeX table (package booktabs), in UTF-8.

    Example:
        >>> print(latex_bytes(pd.DataFrame({"run": ["a_b"], "kept": [12]})).decode())
        \\begin{tabular}{lr}
        \\toprule
        run & kept \\\\
        \\midrule
        a\\_b & 12 \\\\
        \\bottomrule
        \\end{tabular}
        <BLANKLINE>
    """
    kinds = "".join("r" if _is_number(rows[name]) else "l" for name in rows)
    head = _row(rows.columns)
    body = [_row(values) for values in rows.itertuples(index=False, name=None)]
    lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", head, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""]).encode()


def _is_number(column: pd.Series) -> bool:
    return bool(is_numeric_dtype(column) and not is_bool_dtype(column))


def _row(values: Any) -> str:
    return " & ".join(_cell(value) for value in values) + r" \\"


def _cell(value: Any) -> str:
    if value is None or value is pd.NaT or (isinstance(value, float) and pd.isna(value)):
        return "--"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return "".join(_ESCAPED.get(character, character) for character in _BLANKS.sub(" ", text))
