"""Whole cache lines of numbers as values of compiled code.

A folded row is computed line by line (see `mfn_engine_numba._memory`). Left to the compiler's vectoriser, each line is
loaded three times, as a cell, as the left neighbour of the next one and as the right neighbour of the one before.
Written in lines, it is loaded once. Each operation here is that of IEEE 754 on every number of a line, without
contraction, so that the results are those of the same formula in scalars bit for bit.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from mfn_engine_numba._memory import CACHE_LINE
from mfn_engine_numba._numba import intrinsic_of

__all__ = [
    "line_absolute",
    "line_at",
    "line_difference",
    "line_fused",
    "line_greater",
    "line_lesser",
    "line_negative",
    "line_product",
    "line_quotient",
    "line_root",
    "line_sum",
    "put_line",
    "spread",
    "turned_down",
    "turned_up",
]


class _Line(types.Type):  # type: ignore[misc]  # numba has no types
    """As many numbers as a cache line holds."""

    def __init__(self, number: Any) -> None:
        self.number = number
        self.lanes = CACHE_LINE * 8 // number.bitwidth
        super().__init__(name=f"Line({number})")


@register_model(_Line)
class _LineModel(models.PrimitiveModel):  # type: ignore[misc]  # numba has no types
    def __init__(self, manager: Any, line: Any) -> None:
        super().__init__(manager, line, ir.VectorType(manager.lookup(line.number).get_value_type(), line.lanes))


def _place(builder: Any, pointer: Any, index: Any, line: Any) -> Any:
    """The address of a line that begins at `pointer[index]`."""
    return builder.bitcast(builder.gep(pointer, [index], source_etype=line.element), line.as_pointer())


@intrinsic_of
def line_at(typing_context: Any, pointer: Any, index: Any) -> Any:
    """The line that begins at `pointer[index]`."""
    kind = _Line(pointer.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        line = context.get_value_type(signature.return_type)
        return builder.load(
            _place(builder, arguments[0], arguments[1], line), typ=line, align=kind.number.bitwidth // 8
        )

    return kind(pointer, types.int64), generate


@intrinsic_of
def put_line(typing_context: Any, pointer: Any, index: Any, line: Any) -> Any:
    """Writes a line to where `pointer[index]` begins."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, index, value = arguments
        builder.store(value, _place(builder, pointer, index, value.type), align=line.number.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(pointer, types.int64, line), generate


@intrinsic_of
def spread(typing_context: Any, value: Any) -> Any:
    """A line of one number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        line = context.get_value_type(signature.return_type)
        nothing, index = ir.Constant(line, ir.Undefined), ir.IntType(32)
        first = builder.insert_element(nothing, arguments[0], ir.Constant(index, 0))
        return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(index, line.count), [0] * line.count))

    return _Line(value)(value), generate


def _operation(name: str) -> Any:
    """An intrinsic for an instruction on two lines."""

    @intrinsic_of
    def operation(typing_context: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, name)(*arguments)

        return left(left, right), generate

    return operation


line_sum = _operation("fadd")
line_difference = _operation("fsub")
line_product = _operation("fmul")
line_quotient = _operation("fdiv")


def _function(name: str, arity: int) -> Any:
    """The generator of a function of LLVM on lines."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        line = arguments[0].type
        suffix = f"v{line.count}{line.element.intrinsic_name}"
        kind = ir.FunctionType(line, [line] * arity)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.{suffix}"), arguments)

    return generate


@intrinsic_of
def line_fused(typing_context: Any, factor: Any, other: Any, addend: Any) -> Any:
    """`factor * other + addend`, rounded once."""
    return addend(factor, other, addend), _function("fma", 3)


@intrinsic_of
def line_absolute(typing_context: Any, value: Any) -> Any:
    """`abs`."""
    return value(value), _function("fabs", 1)


@intrinsic_of
def line_root(typing_context: Any, value: Any) -> Any:
    """`math.sqrt`, NaN below 0."""
    return value(value), _function("sqrt", 1)


@intrinsic_of
def line_negative(typing_context: Any, value: Any) -> Any:
    """`-value`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fneg(arguments[0])

    return value(value), generate


def _selection(comparison: str) -> Any:
    """An intrinsic that takes the left number where it compares so or is NaN, and else the right one."""

    @intrinsic_of
    def selection(typing_context: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            one, other = arguments
            compares = builder.fcmp_ordered(comparison, one, other)
            return builder.select(builder.or_(compares, builder.fcmp_unordered("!=", one, one)), one, other)

        return left(left, right), generate

    return selection


line_lesser = _selection("<")
line_greater = _selection(">")


def _turned(by: int) -> Any:
    """An intrinsic that moves every number of a line by some lanes, round its end."""

    @intrinsic_of
    def turned(typing_context: Any, line: Any) -> Any:
        order = [(lane - by) % line.lanes for lane in range(line.lanes)]

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
            return builder.shuffle_vector(arguments[0], arguments[0], mask)

        return line(line), generate

    return turned


turned_up = _turned(1)
"""The last number first, each other one lane further on."""
turned_down = _turned(-1)
"""The first number last, each other one lane back."""
