"""Reactions compiled into instructions: one array operation each, over species, laplacians, numbers and registers.

An instruction names its operands. It is bound to memory later, once for each block of rows, so that blocks share what
was compiled. A register is an intermediate result that lives from the instruction which writes it to the one which
reads it; a formula takes as few of them as its shape allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from mfn_model.expressions import (
    Binary,
    Coefficient,
    Expression,
    Function,
    Name,
    Number,
    Power,
    Unary,
    reduce,
)

__all__ = ["Function3", "Instruction", "Operand", "Registers", "compile_formula", "copy_operand"]

Function3 = Callable[[Any, Any, Any], Any]
"""`(left, right, out)`: computes into `out`; a function of one argument passes over `right`."""


class Operand(NamedTuple):
    """What an instruction reads or writes."""

    kind: str
    """`species` and `laplacian` by the place of the species, `coefficient` and `four_diffusion` by their places in the
    table, `register` by its number, `number` by its value."""
    value: float


class Instruction(NamedTuple):
    """One array operation."""

    function: Function3
    left: Operand
    right: Operand
    out: Operand


@dataclass(slots=True)
class Registers:
    """Which registers are free, and how many there must be."""

    free: list[int]
    count: int = 0

    @classmethod
    def none(cls) -> Registers:
        """None yet."""
        return cls([])

    def take(self) -> Operand:
        """A register that nobody reads."""
        if not self.free:
            self.free.append(self.count)
            self.count += 1
        return Operand("register", self.free.pop())

    def give(self, operand: Operand) -> None:
        """Its value is not read any more; nothing for an operand that is no register."""
        if operand.kind == "register":
            self.free.append(int(operand.value))


def _of_one(function: Callable[[Any, Any], Any]) -> Function3:
    def apply(left: Any, right: Any, out: Any) -> Any:
        return function(left, out)

    return apply


def _of_two(function: Callable[..., Any]) -> Function3:
    def apply(left: Any, right: Any, out: Any) -> Any:
        return function(left, right, out=out)

    return apply


def copy_operand(left: Any, right: Any, out: Any) -> None:
    """`left` into `out`."""
    np.copyto(out, left)


_BINARY: Final[Mapping[str, Function3]] = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}
_FUNCTIONS: Final[Mapping[str, Function3]] = {
    "abs": _of_one(np.absolute),
    "exp": _of_one(np.exp),
    "maximum": _of_two(np.maximum),
    "minimum": _of_two(np.minimum),
    "sqrt": _of_one(np.sqrt),
    "tanh": _of_one(np.tanh),
}
_MINUS_ONE: Final = Operand("number", -1.0)


def compile_formula(
    expression: Expression, symbols: Mapping[str, int], registers: Registers, instructions: list[Instruction]
) -> Operand:
    """Appends what computes `expression`, in the order in which it is written; the operand that then holds it.

    `symbols` are the places of species. The result may be a register, to be given back by who reads it.
    """

    def emit(function: Function3, left: Operand, right: Operand) -> Operand:
        if right != left:
            registers.give(right)
        out = left if left.kind == "register" else registers.take()
        instructions.append(Instruction(function, left, right, out))
        return out

    def power(base: Operand, exponent: int) -> Operand:
        if exponent == 0:
            registers.give(base)
            return Operand("number", 1.0)
        if exponent == 1:
            return base
        out = registers.take()  # the base is read by every product
        instructions.append(Instruction(np.multiply, base, base, out))
        instructions.extend([Instruction(np.multiply, out, base, out)] * (exponent - 2))
        registers.give(base)
        return out

    def combine(node: Expression, parts: tuple[Operand, ...]) -> Operand:
        match node:
            case Number(value=value):
                return Operand("number", value)
            case Name(name=name):
                return Operand("species", symbols[name])
            case Coefficient(index=index):
                return Operand("coefficient", index)
            case Unary():
                return emit(np.multiply, parts[0], _MINUS_ONE)  # exactly the negative, zeros included
            case Power(exponent=exponent):
                return power(parts[0], exponent)
            case Binary(operator=operator):
                return emit(_BINARY[operator], parts[0], parts[1])
            case Function(name=name):
                return emit(_FUNCTIONS[name], parts[0], parts[-1])
        raise TypeError(f"{node!r} is no expression")

    return reduce(expression, combine)
