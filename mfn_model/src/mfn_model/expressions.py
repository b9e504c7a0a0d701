"""The language in which a model states its dynamics: arithmetic over species and parameters, as text.

    text        tree                                                     computed as
    a * (1 - a) Binary(*, Name(a), Binary(-, Number(1), Name(a)))        one product of a and of one difference
    a - b - c   Binary(-, Binary(-, Name(a), Name(b)), Name(c))          (a - b) - c
    -a**2       Unary(Power(Name(a), 2))                                 -(a a)
    a**3        Power(Name(a), 3)                                        (a a) a

Names, numbers, `+ - * /`, a leading minus, `**` with a literal exponent from 0 to 8, and the functions of `FUNCTIONS`.
The tree keeps the order in which the text is written, and each operation rounds once to float64, so that everyone who
evaluates it so gets the same bits: NumPy, a generated kernel, or Python's own floats. `abs`, `minimum`, `maximum` and
`sqrt` are exact in this sense too (IEEE 754 prescribes them; a NaN operand of `minimum` or `maximum` gives NaN), while
implementations of `exp` and `tanh` differ by a few units in the last place.

Sub-expressions without species are constants of a specification. `fold` replaces them by their numbers and `hoist` by
entries of a table, so that they need not be computed at every cell; neither changes a bit.

>>> tree = parse("feed * (1 - u) - u * v**2")
>>> sorted(tree.names), str(tree)
(['feed', 'u', 'v'], 'feed * (1 - u) - u * v**2')
>>> evaluate(tree, {"u": 0.5, "v": 0.25, "feed": 0.04})
-0.01125
>>> str(fold(parse("a * (b + 1) / c"), {"b": 2.0}))
'a * 3 / c'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from mfn_model._expression_nodes import (
    Binary,
    Coefficient,
    Expression,
    Function,
    Name,
    Number,
    Power,
    Unary,
    operands,
    reduce,
    walk,
)
from mfn_model._expression_parser import FUNCTIONS, LARGEST_EXPONENT, ExpressionError, is_name, parse

__all__ = [
    "FUNCTIONS",
    "LARGEST_EXPONENT",
    "NUMPY_FUNCTIONS",
    "Binary",
    "Coefficient",
    "Expression",
    "ExpressionError",
    "Function",
    "Name",
    "Number",
    "Power",
    "Unary",
    "evaluate",
    "evaluate_number",
    "fold",
    "hoist",
    "is_name",
    "operands",
    "parse",
    "reduce",
    "walk",
]

NUMPY_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "abs": np.abs,
        "exp": np.exp,
        "maximum": np.maximum,
        "minimum": np.minimum,
        "sqrt": np.sqrt,
        "tanh": np.tanh,
    }
)
"""The functions of the language on NumPy arrays and scalars."""


def evaluate(
    expression: Expression,
    values: Mapping[str, Any],
    functions: Mapping[str, Callable[..., Any]] = NUMPY_FUNCTIONS,
    coefficients: Sequence[float] = (),
) -> Any:
    """The value of `expression` where its names have `values`: floats, complex numbers or arrays that broadcast.

    `coefficients` is the table that `Coefficient` nodes index. A division by zero, an overflow or a root of a negative
    number gives what IEEE 754 says, infinity or NaN, for arrays and NumPy scalars; NumPy then warns unless
    `numpy.errstate` says otherwise, and Python's own floats raise. Raises `KeyError` for a name without a value.
    """

    def combine(node: Expression, parts: tuple[Any, ...]) -> Any:
        match node:
            case Number(value=number):
                return number
            case Name(name=name):
                return values[name]
            case Coefficient(index=index):
                return coefficients[index]
            case _:
                return _apply(node, parts, functions)

    return reduce(expression, combine)


def evaluate_number(expression: Expression, values: Mapping[str, float | bool]) -> float:
    """The value of an expression of parameters, as a float: infinity or NaN, without a warning, where IEEE 754 says so.

    Raises `KeyError` for a name without a value.
    """

    def combine(node: Expression, parts: tuple[Any, ...]) -> Any:
        match node:
            case Number(value=number):
                return np.float64(number)
            case Name(name=name):
                return np.float64(values[name])
            case _:
                return _apply(node, parts, NUMPY_FUNCTIONS)

    if isinstance(expression, Name):
        return float(values[expression.name])
    with np.errstate(all="ignore"):
        return float(reduce(expression, combine))


def _apply(node: Expression, parts: tuple[Any, ...], functions: Mapping[str, Callable[..., Any]]) -> Any:
    """One operation on the results of its operands."""
    match node:
        case Unary():
            return -parts[0]
        case Power(exponent=exponent):
            return _power(parts[0], exponent)
        case Function(name=name):
            return functions[name](*parts)
        case Binary(operator="+"):
            return parts[0] + parts[1]
        case Binary(operator="-"):
            return parts[0] - parts[1]
        case Binary(operator="*"):
            return parts[0] * parts[1]
        case Binary(operator="/"):
            return parts[0] / parts[1]
    raise TypeError(f"{node!r} is no operation")


def _power(base: Any, exponent: int) -> Any:
    if exponent == 0:
        return 1.0
    result = base
    for _ in range(exponent - 1):
        result = result * base
    return result


def fold(expression: Expression, values: Mapping[str, float | bool]) -> Expression:
    """The same expression with every part that holds no other name than these replaced by its number.

    The number is the one that evaluation gives, to the bit, infinity and NaN included.
    """
    if expression.names <= values.keys() and not _holds_coefficient(expression):
        return Number(evaluate_number(expression, values))
    return _with_operands(expression, tuple(fold(each, values) for each in operands(expression)))


def hoist(expression: Expression, variables: frozenset[str], table: list[Expression]) -> Expression:
    """The same expression with every part that holds none of `variables` replaced by a `Coefficient`.

    Each such part is appended to `table`, unless it is there already; `Coefficient.index` is its place. A number that
    stands alone stays where it is. Only the largest such parts are taken: of `a * (b + 1)` with the variable a it is
    `b + 1`, of `a * b * c` it is first b and then c, because the product with a comes before that with c.
    """
    if isinstance(expression, Number) or expression.names & variables:
        return _with_operands(expression, tuple(hoist(each, variables, table) for each in operands(expression)))
    if expression not in table:
        table.append(expression)
    return Coefficient(table.index(expression))


def _holds_coefficient(expression: Expression) -> bool:
    return any(isinstance(node, Coefficient) for node in walk(expression))


def _with_operands(node: Expression, parts: tuple[Expression, ...]) -> Expression:
    match node:
        case Unary():
            return Unary(parts[0])
        case Power(exponent=exponent):
            return Power(parts[0], exponent)
        case Binary(operator=operator):
            return Binary(operator, parts[0], parts[1])
        case Function(name=name):
            return Function(name, parts)
        case _:
            return node
