"""Integers that record their expression, against plain arithmetic."""

from __future__ import annotations

import ast
from collections.abc import Callable
from math import ceil, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asi_core.counting import TracedInt, ceil_div, expression_of

NAMES = ("a", "b", "c")
OPERATIONS: list[Callable[[int, int], int]] = [
    lambda x, y: x + y,
    lambda x, y: x - y,
    lambda x, y: x * y,
    lambda x, y: x // (y or 1),
    lambda x, y: ceil_div(x, y or 1),
    max,
    min,
]


def read(number: int, values: dict[str, int]) -> int:
    """The value of the expression, computed by Python."""
    text = ast.unparse(expression_of(number)).replace("ceil(", "ceiling(")
    names = {**values, "ceiling": lambda share: ceil(round(share, 9))}
    return int(eval(text, {"__builtins__": {}}, names))


@given(st.data())
def test_value_and_expression_are_those_of_plain_integers(data: st.DataObject) -> None:
    values = {name: data.draw(st.integers(1, 40), name) for name in NAMES}
    plain: list[int] = [*values.values(), 0, 1, 2]
    traced: list[int] = [*(TracedInt.named(v, n) for n, v in values.items()), 0, 1, 2]
    for _ in range(data.draw(st.integers(1, 5))):
        apply = data.draw(st.sampled_from(OPERATIONS))
        left, right = (data.draw(st.integers(0, len(plain) - 1)) for _ in range(2))
        plain.append(apply(plain[left], plain[right]))
        traced.append(apply(traced[left], traced[right]))
    assert [int(number) for number in traced] == plain
    assert [read(number, values) for number in traced] == plain


def test_neutral_elements_are_not_traced() -> None:
    a, b = TracedInt.named(3, "a"), TracedInt.named(5, "b")
    found = prod((a, b)) + sum([0, a, 1 * b]) - 0 + (0 * a) // 1
    assert ast.unparse(expression_of(found)) == "a * b + a + b"
    assert found == 3 * 5 + 3 + 5
    assert type(0 * a) is int
    assert ast.unparse(expression_of(a**2 // ceil_div(b, 1))) == "a ** 2 // b"


def test_necessary_brackets_are_kept() -> None:
    a, b, c = (TracedInt.named(number, name) for number, name in ((9, "a"), (4, "b"), (2, "c")))
    for found, text in (
        (a - (b + c), "a - (b + c)"),
        (a - (b - c), "a - (b - c)"),
        (a + (b - c), "a + b - c"),
        (a // (b * c), "a // (b * c)"),
        ((a + b) * c, "(a + b) * c"),
    ):
        assert ast.unparse(expression_of(found)) == text
        assert read(found, {"a": 9, "b": 4, "c": 2}) == found


def test_in_other_operations_it_is_a_plain_integer() -> None:
    a = TracedInt.named(3, "a")
    assert a / 2 == 1.5
    assert a * 0.5 == 0.5 * a == 1.5
    assert {a: 1}[3] == 1
    with pytest.raises(TypeError):
        a + "b"  # type: ignore[operator]
