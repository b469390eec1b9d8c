"""Tables as CSV that spreadsheets only show: what others wrote is text there, never a formula."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

# Signs with which spreadsheets take a cell for a formula (OWASP, "CSV Injection"), also in the
# width of Chinese and Japanese letters; some skip what is blank before them.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_BLANK_FIRST = ("\t", "\r", "\n")
_QUOTE = "'"


def csv_bytes(rows: pd.DataFrame) -> bytes:
    """`rows` without their index, in UTF-8."""
    return harmless(rows).to_csv(index=False).encode()


def harmless(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with a quote before text, in cells and headings, that would be taken for a formula;
    numbers stay as they are."""
    return rows.map(_harmless).rename(columns=_harmless)


def _harmless(value: Any) -> Any:
    if not isinstance(value, str) or _is_number(value):
        return value
    starts_formula = value.lstrip().startswith(_FORMULA) or value.startswith(_BLANK_FIRST)
    return _QUOTE + value if starts_formula else value


def _is_number(text: str) -> bool:
    """Such as -0.5, which is no formula."""
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False
