"""Expressions over integers: their value, and their LaTeX in symbols and in numbers."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil

_THIN = r"\,"
# Precedence from loose to tight, as in Python; an operand of lower precedence gets brackets.
_SUM, _PRODUCT, _POWER, _ATOM = range(4)


@dataclass(frozen=True, slots=True)
class Formula:
    """One number of a layer, and the expression that computes it.

    Attributes:
        quantity: what is counted, in plain words.
        expression: over the names in `values`: + - * / // ** and `ceil`.
        values: name -> integer. A name is a letter with an optional index, such as `k_1` or
            `H_out`.
    """

    quantity: str
    expression: str
    values: Mapping[str, int]

    @property
    def value(self) -> int:
        """The value of the expression."""
        return int(_value(_parsed(self.expression), self.values))

    def symbols(self) -> list[str]:
        """LaTeX in symbols, one string per term of the sum, each with its sign."""
        return _terms(_parsed(self.expression), _symbol)

    def numbers(self) -> list[str]:
        """The same with the values in place of the symbols."""
        return _terms(_parsed(self.expression), lambda name: _grouped(self.values[name]))


def _parsed(expression: str) -> ast.expr:
    return ast.parse(expression, mode="eval").body


def _value(node: ast.expr, values: Mapping[str, int]) -> float:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return values[name]
        case ast.Call(func=ast.Name(id="ceil"), args=[inner]):
            return ceil(_value(inner, values))
        case ast.BinOp(left=left, op=operator, right=right):
            return _OPERATORS[type(operator)](_value(left, values), _value(right, values))
    raise ValueError(f"unsupported expression: {ast.unparse(node)}")


_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Pow: lambda a, b: a**b,
}


def _terms(node: ast.expr, shown: Callable[[str], str]) -> list[str]:
    """The terms of the outermost sum."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        sign = "+" if isinstance(node.op, ast.Add) else "-"
        least = _SUM if sign == "+" else _PRODUCT
        return [*_terms(node.left, shown), f"{sign} {_bound(node.right, least, shown)}"]
    return [_latex(node, shown)[0]]


def _latex(node: ast.expr, shown: Callable[[str], str]) -> tuple[str, int]:
    """LaTeX of a subexpression, and its precedence."""
    match node:
        case ast.Constant(value=number):
            return _grouped(int(str(number))), _ATOM
        case ast.Name(id=name):
            return shown(name), _ATOM
        case ast.Call(func=ast.Name(id=name), args=[inner]):
            return rf"\l{name}\,{_latex(inner, shown)[0]}\,\r{name}", _ATOM
        case ast.BinOp(left=left, op=operator, right=right):
            return _binary(left, operator, right, shown)
    raise ValueError(f"unsupported expression: {ast.unparse(node)}")


def _binary(
    left: ast.expr, operator: ast.operator, right: ast.expr, shown: Callable[[str], str]
) -> tuple[str, int]:
    if isinstance(operator, ast.Pow):
        return rf"{_bound(left, _ATOM, shown)}^{{{_latex(right, shown)[0]}}}", _POWER
    if isinstance(operator, (ast.Div, ast.FloorDiv)):
        fraction = rf"\frac{{{_latex(left, shown)[0]}}}{{{_latex(right, shown)[0]}}}"
        if isinstance(operator, ast.FloorDiv):
            # Fixed size: KaTeX draws growing brackets by a path that browsers cannot read.
            fraction = rf"\Bigl\lfloor {fraction} \Bigr\rfloor"
        return fraction, _ATOM
    if isinstance(operator, ast.Mult):
        both = _bound(left, _PRODUCT, shown), _bound(right, _POWER, shown)
        return r" \cdot ".join(both), _PRODUCT
    sign = "+" if isinstance(operator, ast.Add) else "-"
    tight = _SUM if sign == "+" else _PRODUCT
    return f"{_bound(left, _SUM, shown)} {sign} {_bound(right, tight, shown)}", _SUM


def _bound(node: ast.expr, least: int, shown: Callable[[str], str]) -> str:
    text, binds = _latex(node, shown)
    return text if binds >= least else rf"\left({text}\right)"


def _symbol(name: str) -> str:
    letter, _, index = name.partition("_")
    return rf"{letter}_{{\mathrm{{{index}}}}}" if index else letter


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", _THIN)
