"""Tables as CSV files in which text from other users is never read as a spreadsheet formula."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

# Characters that make a spreadsheet read a cell as a formula (OWASP, "CSV Injection"), also in
# their full-width forms; some spreadsheets skip leading blanks.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_BLANK_FIRST = ("\t", "\r", "\n")
_QUOTE = "'"


def csv_bytes(rows: pd.DataFrame) -> bytes:
    """`rows` without their index, as CSV in UTF-8."""
    return harmless(rows).to_csv(index=False).encode()


def harmless(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with a quote before text in cells and headings that would be read as a formula."""
    return rows.map(_harmless).rename(columns=_harmless)


def _harmless(value: Any) -> Any:
    if not isinstance(value, str) or _is_number(value):
        return value
    starts_formula = value.lstrip().startswith(_FORMULA) or value.startswith(_BLANK_FIRST)
    return _QUOTE + value if starts_formula else value


def _is_number(text: str) -> bool:
    """Whether text such as -0.5 is a number, and so no formula."""
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False
