"""From the text of an expression to its nodes."""

from __future__ import annotations

import ast
import keyword
import math
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal

from mfn_model._expression_nodes import Binary, Expression, Function, Name, Number, Power, Unary

__all__ = ["FUNCTIONS", "LARGEST_EXPONENT", "ExpressionError", "is_name", "parse"]

FUNCTIONS: Final[Mapping[str, int]] = MappingProxyType(
    {"abs": 1, "exp": 1, "maximum": 2, "minimum": 2, "sqrt": 1, "tanh": 1}
)
"""The functions of the language, each with the number of its arguments."""

LARGEST_EXPONENT: Final = 8
"""Of `**`, whose exponent is a whole number from 0 on."""

_LONGEST_TEXT: Final = 2000
_DEEPEST: Final = 100
"""Operations inside each other. Evaluation is recursive, and the interpreter's stack is for others too."""

_OPERATORS: Final[Mapping[type[ast.operator], Literal["+", "-", "*", "/"]]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
}

_ALLOWED: Final = (
    f"allowed are names, numbers, + - * /, a leading minus, ** with a whole number from 0 to {LARGEST_EXPONENT}, "
    "parentheses, and " + ", ".join(FUNCTIONS)
)


class ExpressionError(ValueError):
    """A text that is no expression of the language."""

    def __init__(self, text: str, position: int, problem: str) -> None:
        self.text = text
        """The whole text."""
        self.position = position
        """Where in it the problem begins, from 0."""
        self.problem = problem
        shown = text if len(text) <= 80 else text[:79] + "…"
        super().__init__(f"{shown!r}, column {position + 1}: {problem}")

    def __reduce__(self) -> tuple[type[ExpressionError], tuple[str, int, str]]:
        return type(self), (self.text, self.position, self.problem)


def is_name(text: object) -> bool:
    """Whether this may name a species or a parameter: ASCII letters, digits and _, a letter first, no reserved word."""
    return (
        isinstance(text, str)
        and text.isascii()
        and text.isidentifier()
        and not text.startswith("_")
        and not keyword.iskeyword(text)
        and text not in FUNCTIONS
    )


@lru_cache(maxsize=1024)
def parse(text: str) -> Expression:
    """The tree of `text`, evaluation order exactly as written: left to right, `**` before the sign, parentheses kept.

    Raises `ExpressionError` for anything else than names, numbers, `+ - * /`, a leading minus, `**` with a literal
    exponent from 0 to 8, parentheses and the functions of `FUNCTIONS`. Nothing is executed.
    """
    if len(text) > _LONGEST_TEXT:
        raise ExpressionError(text, _LONGEST_TEXT, f"longer than {_LONGEST_TEXT} characters; divide it")
    for position, character in enumerate(text):
        if character not in "\t\n" and (character == "#" or not " " <= character <= "~"):
            raise ExpressionError(text, position, f"{character!r} is not allowed; {_ALLOWED}")
    written = text.replace("\n", " ").lstrip()
    start = len(text) - len(written)
    if not written:
        raise ExpressionError(text, 0, f"is empty; {_ALLOWED}")
    try:
        root = ast.parse(written, mode="eval").body
    except SyntaxError as error:
        position = start + min(len(written), error.offset or len(written)) - 1  # 0 or none: it ends too early
        raise ExpressionError(text, position, f"cannot be read; {_ALLOWED}") from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError(text, 0, "too deeply nested; divide it") from None
    return _Reader(text, start).read(root, 0)


class _Reader:
    """Reads the nodes of one text."""

    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self._start = start

    def read(self, node: ast.expr, depth: int) -> Expression:
        if depth > _DEEPEST:
            raise self._error(node, f"more than {_DEEPEST} operations inside each other; divide it")
        match node:
            case ast.Constant(value=bool() | complex() | str() | bytes() | None):
                raise self._error(node, f"{node.value!r} is no number; {_ALLOWED}")
            case ast.Constant(value=int() | float() as value):
                return Number(self._finite(node, value))
            case ast.Name(id=name):
                return Name(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return Unary(self.read(operand, depth + 1))
            case ast.BinOp(op=ast.Pow(), left=base, right=exponent):
                return Power(self.read(base, depth + 1), self._exponent(exponent))
            case ast.BinOp(op=operator, left=left, right=right) if type(operator) in _OPERATORS:
                return Binary(_OPERATORS[type(operator)], self.read(left, depth + 1), self.read(right, depth + 1))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if FUNCTIONS.get(name) == len(arguments):
                return Function(name, tuple(self.read(argument, depth + 1) for argument in arguments))
            case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
                raise self._error(node, f"{name} takes {FUNCTIONS[name]} arguments by position")
            case ast.Call(func=ast.Name(id=name)):
                raise self._error(node, f"there is no function {name!r}; {_ALLOWED}")
        raise self._error(node, f"this is not allowed here; {_ALLOWED}")

    def _finite(self, node: ast.expr, value: float) -> float:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._error(node, "the number is too large for float64")
        return number

    def _exponent(self, node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int() as exponent) if not isinstance(exponent, bool):
                if exponent <= LARGEST_EXPONENT:
                    return exponent
        raise self._error(node, f"the exponent of ** is a whole number from 0 to {LARGEST_EXPONENT}")

    def _error(self, node: ast.expr, problem: str) -> ExpressionError:
        return ExpressionError(self._text, self._start + node.col_offset, problem)
