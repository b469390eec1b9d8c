"""Tables as CSV: text is never a formula in a spreadsheet, and numbers stay numbers."""

from __future__ import annotations

import pandas as pd
import pytest

from dashboard.csv_files import csv_bytes, harmless


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\rx", "\nx", " =1+1", "＝1+1", "-x", "-1_0"],
)
def test_formulas_become_text(text: str) -> None:
    frame = pd.DataFrame({text: [text], "kept": ["a=b"]})
    message = harmless(frame)
    assert list(message.columns) == [f"'{text}", "kept"]
    assert message.iloc[0].tolist() == [f"'{text}", "a=b"]


def test_numbers_stay_numbers() -> None:
    frame = pd.DataFrame({"a": [-1.5, None], "b": [-2, 3], "c": ["-0.5", "+3"], "d": ["−", ""]})
    assert csv_bytes(frame).decode() == "a,b,c,d\n-1.5,-2,-0.5,−\n,3,+3,\n"
    assert harmless(frame).dtypes.tolist() == frame.dtypes.tolist()


def test_times_and_missing_values_are_left_alone() -> None:
    frame = pd.DataFrame({"at": [pd.Timestamp("2026-01-02"), pd.NaT], "x": [True, False]})
    assert csv_bytes(frame) == frame.to_csv(index=False).encode()
