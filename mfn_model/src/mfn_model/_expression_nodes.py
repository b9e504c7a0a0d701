"""The nodes of an expression, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

__all__ = [
    "Binary",
    "Coefficient",
    "Expression",
    "Function",
    "Name",
    "Number",
    "Power",
    "Unary",
    "operands",
    "reduce",
    "walk",
]

T = TypeVar("T")

_SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(5)
"""How tightly each kind of node binds."""


@dataclass(frozen=True, slots=True)
class Number:
    """A float64 constant."""

    value: float

    @property
    def names(self) -> frozenset[str]:
        """None."""
        return frozenset()

    def __str__(self) -> str:
        return repr(self.value).removesuffix(".0")


@dataclass(frozen=True, slots=True)
class Name:
    """A species by its symbol, or a parameter by its name."""

    name: str

    @property
    def names(self) -> frozenset[str]:
        """This one."""
        return frozenset((self.name,))

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Coefficient:
    """An entry of a table of numbers that depend on parameters alone; `hoist` puts it there, no text stands for it."""

    index: int

    @property
    def names(self) -> frozenset[str]:
        """None: the table was computed from the parameters."""
        return frozenset()

    def __str__(self) -> str:
        return f"c[{self.index}]"


@dataclass(frozen=True, slots=True)
class Unary:
    """The negative of its operand."""

    operand: Expression

    @property
    def names(self) -> frozenset[str]:
        """Those of the operand."""
        return self.operand.names

    def __str__(self) -> str:
        return "-" + _written(self.operand, _SIGN)


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`, rounded once; the operands are computed as they stand, left before right."""

    operator: Literal["+", "-", "*", "/"]
    left: Expression
    right: Expression

    @property
    def names(self) -> frozenset[str]:
        """Those of both operands."""
        return self.left.names | self.right.names

    def __str__(self) -> str:
        binds = _binds(self)
        return f"{_written(self.left, binds)} {self.operator} {_written(self.right, binds + 1)}"


@dataclass(frozen=True, slots=True)
class Power:
    """`base ** exponent`: that many factors multiplied from left to right, ((b b) b) b; 1 for exponent 0."""

    base: Expression
    exponent: int

    @property
    def names(self) -> frozenset[str]:
        """Those of the base."""
        return self.base.names

    def __str__(self) -> str:
        return f"{_written(self.base, _ATOM)}**{self.exponent}"


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the language, by name."""

    name: str
    arguments: tuple[Expression, ...]

    @property
    def names(self) -> frozenset[str]:
        """Those of the arguments."""
        return frozenset().union(*(argument.names for argument in self.arguments))

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.arguments))})"


Expression = Number | Name | Coefficient | Unary | Binary | Power | Function
"""Any node. `str` of one reads back as the same tree, unless it holds a `Coefficient` or a negative `Number`."""

_BINDS: Final = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT}


def _binds(node: Expression) -> int:
    if isinstance(node, Binary):
        return _BINDS[node.operator]
    if isinstance(node, Unary) or (isinstance(node, Number) and str(node).startswith("-")):
        return _SIGN
    return _POWER if isinstance(node, Power) else _ATOM


def _written(node: Expression, binds: int) -> str:
    return str(node) if _binds(node) >= binds else f"({node})"


def operands(node: Expression) -> tuple[Expression, ...]:
    """The nodes directly below, in the order in which they are computed."""
    match node:
        case Unary(operand=below) | Power(base=below):
            return (below,)
        case Binary(left=left, right=right):
            return (left, right)
        case Function(arguments=arguments):
            return arguments
        case _:
            return ()


def walk(expression: Expression) -> Iterator[Expression]:
    """Every node, operands before the operation: the order in which a stack machine computes them."""
    for below in operands(expression):
        yield from walk(below)
    yield expression


def reduce(expression: Expression, combine: Callable[[Expression, tuple[T, ...]], T]) -> T:
    """`combine(node, results of its operands)` of every node, operands first; the result at the root.

    That is all that a compiler needs. To source text, for instance:

    >>> from mfn_model.expressions import Binary, Name, parse
    >>> reduce(parse("a * (1 - a)"), lambda node, parts: (
    ...     f"({parts[0]} {node.operator} {parts[1]})" if isinstance(node, Binary) else
    ...     f"{node}[i]" if isinstance(node, Name) else str(node)))
    '(a[i] * (1 - a[i]))'
    """
    return combine(expression, tuple(reduce(below, combine) for below in operands(expression)))
