"""Tables as LaTeX."""

from __future__ import annotations

import pandas as pd

from dashboard.table_files import latex_bytes


def lines(rows: pd.DataFrame) -> list[str]:
    return latex_bytes(rows).decode().splitlines()


def test_numbers_are_on_the_right_and_text_is_escaped() -> None:
    rows = pd.DataFrame({"run_1": ["a & b%", "\\x{y}"], "kept": [1.5, None], "is": [True, False]})
    assert lines(rows) == [
        r"\begin{tabular}{lrl}",
        r"\toprule",
        r"run\_1 & kept & is \\",
        r"\midrule",
        r"a \& b\% & 1.5 & True \\",
        r"\textbackslash{}x\{y\} & -- & False \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_signs_of_the_pages_have_their_commands() -> None:
    row = lines(pd.DataFrame({"a": ["74\u202f× less", "\u22120.5 ± 1", "two\nlines", "–"]}))[4:8]
    assert row == [r"74\,$\times$ less \\", r"$-$0.5 $\pm$ 1 \\", r"two lines \\", r"-- \\"]
