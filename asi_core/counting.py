"""Integers that record the expression they were computed by.

A closed form is written once, as a function of integers. Called with integers it returns a count;
called with `TracedInt`s it returns the count together with its equation.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any, Self


class TracedInt(int):
    """An integer together with the expression that it is the value of.

    Sums, differences, products, powers and floor divisions of traced integers are traced. In every
    other operation it is a plain integer, so branches that depend on sizes take the path of the
    given layer.

    Attributes:
        expression: a Python syntax tree over names.

    Example:
        >>> batch, rank = TracedInt.named(64, "B"), TracedInt.named(8, "k")
        >>> work = 2 * batch * rank + 0
        >>> int(work), ast.unparse(work.expression)
        (1024, '2 * B * k')
    """

    expression: ast.expr

    def __new__(cls, value: int, expression: ast.expr) -> Self:
        traced = super().__new__(cls, value)
        traced.expression = expression
        return traced

    @classmethod
    def named(cls, value: int, name: str) -> Self:
        """An integer named by a letter, which may have an index: `k_B`."""
        return cls(value, ast.Name(name))

    def __add__(self, other: int) -> Any:
        return _applied(ast.Add(), operator.add, self, other)

    def __radd__(self, other: int) -> Any:
        return _applied(ast.Add(), operator.add, other, self)

    def __sub__(self, other: int) -> Any:
        return _applied(ast.Sub(), operator.sub, self, other)

    def __rsub__(self, other: int) -> Any:
        return _applied(ast.Sub(), operator.sub, other, self)

    def __mul__(self, other: int) -> Any:
        return _applied(ast.Mult(), operator.mul, self, other)

    def __rmul__(self, other: int) -> Any:
        return _applied(ast.Mult(), operator.mul, other, self)

    def __floordiv__(self, other: int) -> Any:
        return _applied(ast.FloorDiv(), operator.floordiv, self, other)

    def __rfloordiv__(self, other: int) -> Any:
        return _applied(ast.FloorDiv(), operator.floordiv, other, self)

    def __pow__(self, other: int, modulus: None = None) -> Any:  # type: ignore[override]
        return _applied(ast.Pow(), operator.pow, self, other)


def ceil_div(numerator: int, denominator: int) -> int:
    """The quotient, rounded up."""
    value = -(-int(numerator) // int(denominator))
    if not (_is_traced(numerator) or _is_traced(denominator)) or _is_plain(denominator, 1):
        return numerator if _is_plain(denominator, 1) else value
    quotient = ast.BinOp(expression_of(numerator), ast.Div(), expression_of(denominator))
    return TracedInt(value, ast.Call(ast.Name("ceil"), [quotient], []))


def expression_of(number: int) -> ast.expr:
    """The expression of a traced number; of any other number, the constant."""
    if isinstance(number, TracedInt):
        return number.expression
    size = ast.Constant(abs(int(number)))
    # A negative number is written 0 - n, as equations here have no unary minus.
    return size if number >= 0 else ast.BinOp(ast.Constant(0), ast.Sub(), size)


def _applied(symbol: ast.operator, compute: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    if not (isinstance(a, int) and isinstance(b, int)):
        return NotImplemented
    if (same := _unchanged(symbol, a, b)) is not None:
        return same
    value: int = compute(int(a), int(b))
    if isinstance(symbol, ast.Mult) and value == 0 and (_is_plain(a, 0) or _is_plain(b, 0)):
        return 0
    return TracedInt(value, _joined(symbol, expression_of(a), expression_of(b)))


def _joined(symbol: ast.operator, left: ast.expr, right: ast.expr) -> ast.expr:
    """Both, without unnecessary brackets around the right side: a + (b - c), a (b c)."""
    associative = {ast.Add: (ast.Add, ast.Sub), ast.Mult: (ast.Mult,)}.get(type(symbol), ())
    if isinstance(right, ast.BinOp) and isinstance(right.op, associative):
        return ast.BinOp(_joined(symbol, left, right.left), right.op, right.right)
    return ast.BinOp(left, symbol, right)


def _unchanged(symbol: ast.operator, a: int, b: int) -> int | None:
    """The operand that is returned unchanged by a sum with 0 or a product with 1."""
    if isinstance(symbol, (ast.Add, ast.Sub)) and _is_plain(b, 0):
        return a
    if isinstance(symbol, (ast.Mult, ast.FloorDiv, ast.Pow)) and _is_plain(b, 1):
        return a
    neutral = {ast.Add: 0, ast.Mult: 1}.get(type(symbol))
    return b if neutral is not None and _is_plain(a, neutral) else None


def _is_plain(number: int, value: int) -> bool:
    return not _is_traced(number) and number == value


def _is_traced(number: int) -> bool:
    return isinstance(number, TracedInt)
