from __future__ import annotations

import pytest

from asi_core.costs.formulas import Formula

VALUES = {"B": 64, "k_B": 3, "H_out": 1280, "R": 2}


def latex(expression: str) -> tuple[str, str]:
    formula = Formula("", expression, VALUES)
    return " ".join(formula.symbols()), " ".join(formula.numbers())


@pytest.mark.parametrize(
    ("expression", "value", "symbols", "numbers"),
    [
        ("4*B*k_B", 768, r"4 \cdot B \cdot k_{\mathrm{B}}", r"4 \cdot 64 \cdot 3"),
        ("B - (R - k_B)", 65, r"B - \left(R - k_{\mathrm{B}}\right)", r"64 - \left(2 - 3\right)"),
        ("4*(B + R)", 264, r"4 \cdot \left(B + R\right)", r"4 \cdot \left(64 + 2\right)"),
        ("(B*R)**2", 16384, r"\left(B \cdot R\right)^{2}", r"\left(64 \cdot 2\right)^{2}"),
        (
            "2*k_B**3//4",
            13,
            r"\Bigl\lfloor \frac{2 \cdot k_{\mathrm{B}}^{3}}{4} \Bigr\rfloor",
            r"\Bigl\lfloor \frac{2 \cdot 3^{3}}{4} \Bigr\rfloor",
        ),
        (
            "ceil(H_out/k_B)*R",
            854,
            r"\lceil\,\frac{H_{\mathrm{out}}}{k_{\mathrm{B}}}\,\rceil \cdot R",
            r"\lceil\,\frac{1\,280}{3}\,\rceil \cdot 2",
        ),
    ],
)
def test_value_and_both_readings(
    expression: str, value: int, symbols: str, numbers: str | None
) -> None:
    assert Formula("", expression, VALUES).value == value
    assert latex(expression)[0] == symbols
    assert numbers is None or latex(expression)[1] == numbers


def test_a_sum_is_reported_term_by_term() -> None:
    assert Formula("", "B + 2*R - k_B", VALUES).symbols() == [
        "B",
        r"+ 2 \cdot R",
        r"- k_{\mathrm{B}}",
    ]


def test_unsupported_expressions_are_refused() -> None:
    with pytest.raises(ValueError, match="unsupported expression"):
        _ = Formula("", "__import__('os')", {}).value
