"""What the compiled parts of this package need of Numba: typed decorators, raw pointers, and a few instructions.

Fields are reached through pointers instead of arrays. That keeps the arguments of a row's kernel few, and makes the
promise possible that lets the compiler vectorise it: `row_kernel` marks every pointer argument as free of aliases, so
that a row which is written is known to be none of those that are read.

No function here, and none compiled with these decorators, allows the compiler to contract or reorder floating-point
operations. `fused` is the one explicit fused multiply-add; it is used where the product is exact, so that it rounds as
a multiplication followed by an addition does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from llvmlite import ir
from numba import njit, types
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.extending import intrinsic

from mfn_engine_numba._memory import CACHE_LINE

__all__ = [
    "chosen",
    "compiled",
    "compiled_for",
    "entry",
    "float32_at",
    "float64_at",
    "fused",
    "greater",
    "inlined",
    "int64_at",
    "intrinsic_of",
    "kept_entry",
    "lesser",
    "number_of_key",
    "order_key",
    "row_kernel",
    "shift_line_down",
    "shift_line_up",
    "shifted",
    "uint64_at",
    "wide_product",
    "with_sign_flipped",
]

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: Final[dict[str, Any]] = {
    "nogil": True,
    "boundscheck": False,
    "fastmath": False,
    "error_model": "numpy",
}
"""How everything is compiled; `error_model` makes a division by zero give what IEEE 754 says."""
_INNER: Final[dict[str, Any]] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""How functions are compiled that nobody calls from Python, which saves time."""


class _WithoutAliases(CompilerBase):  # type: ignore[misc]  # numba has no types
    """Numba's own pipeline, whose functions promise that their pointer arguments do not overlap."""

    def define_pipelines(self) -> list[Any]:
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


def compiled(function: F) -> F:
    """Compiles a function at its first use by another one, which compiles it into itself."""
    return njit(**_INNER)(function)  # type: ignore[no-any-return]  # numba has no types


def compiled_for(model_function: Any) -> Callable[[F], F]:
    """Like `compiled`, for a function of this package that is made of a model's functions, of which this is one.

    Compiled functions are known to the linker by module, name, types of arguments, and a number that counts in each
    process. What two processes have kept on disk for two models would be one function to a third, were it not for the
    name of the model's module in them.
    """

    def compile_for(function: F) -> F:
        function.__qualname__ = f"{model_function.py_func.__module__}.{function.__qualname__}"
        return compiled(function)

    return compile_for


def inlined(function: F) -> F:
    """Like `compiled`, for a function that must become part of the one that uses it."""
    return njit(forceinline=True, **_INNER)(function)  # type: ignore[no-any-return]  # numba has no types


def row_kernel(function: F) -> F:
    """Like `compiled`, for a function whose pointer arguments never overlap where it writes."""
    return njit(pipeline_class=_WithoutAliases, **_INNER)(function)  # type: ignore[no-any-return]  # numba has no types


def entry(signature: str) -> Callable[[F], F]:
    """For a function that Python calls: compiled at once, for arguments of these types."""
    return njit(signature, **_OPTIONS)  # type: ignore[no-any-return]  # numba has no types


def kept_entry(signature: str) -> Callable[[F], F]:
    """Like `entry`, with the result kept on disk beside the module, and taken from there where it is."""
    return njit(signature, cache=True, **_OPTIONS)  # type: ignore[no-any-return]  # numba has no types


def intrinsic_of(function: Callable[..., Any]) -> Any:
    """Makes a function that types and generates instructions callable from compiled code, less its first argument."""
    return intrinsic(function)


def _pointer_to(kind: Any) -> Any:
    """An intrinsic from an address, an int64, to a pointer."""

    @intrinsic_of
    def at(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), generate

    return at


float64_at = _pointer_to(types.float64)
float32_at = _pointer_to(types.float32)
int64_at = _pointer_to(types.int64)
uint64_at = _pointer_to(types.uint64)


@intrinsic_of
def shifted(typing_context: Any, pointer: Any, count: Any) -> Any:
    """`pointer` moved by `count` elements."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base, moved = arguments
        element = context.get_data_type(signature.args[0].dtype)
        return builder.gep(base, [moved], source_etype=element)

    return pointer(pointer, types.int64), generate


@intrinsic_of
def fused(typing_context: Any, factor: Any, other: Any, addend: Any) -> Any:
    """`factor * other + addend`, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return other(other, other, other), generate


@intrinsic_of
def chosen(typing_context: Any, condition: Any, value: Any, otherwise: Any) -> Any:
    """`value if condition else otherwise` without a branch, both of the same type; both are computed.

    Branches around values that are stored become stores under a mask, which some processors are slow at.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return value(types.boolean, value, value), generate


@compiled
def lesser(left: Any, right: Any) -> Any:
    """`numpy.minimum`: NaN where one of them is."""
    return chosen((left < right) | (left != left), left, right)


@compiled
def greater(left: Any, right: Any) -> Any:
    """`numpy.maximum`: NaN where one of them is."""
    return chosen((left > right) | (left != left), left, right)


@intrinsic_of
def with_sign_flipped(typing_context: Any, value: Any, flip: Any) -> Any:
    """`value`, negated where the uint64 `flip` is 1 and not where it is 0, without a branch."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number, flag = arguments
        sign = builder.shl(flag, ir.Constant(flag.type, 63))
        return builder.bitcast(builder.xor(builder.bitcast(number, flag.type), sign), number.type)

    return types.float64(types.float64, types.uint64), generate


def _line_shifted(towards_first: bool) -> Any:
    """An intrinsic that writes a cache line of cells, all moved by one lane, to another place."""

    @intrinsic_of
    def shift_line(typing_context: Any, source: Any, target: Any, edge: Any) -> Any:
        lanes = CACHE_LINE * 8 // source.dtype.bitwidth

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            line = ir.VectorType(context.get_data_type(source.dtype), lanes)
            index = ir.IntType(32)
            read, written = (builder.bitcast(pointer, line.as_pointer()) for pointer in arguments[:2])
            order = [(lane + (1 if towards_first else lanes - 1)) % lanes for lane in range(lanes)]
            loaded = builder.load(read, typ=line, align=source.dtype.bitwidth // 8)
            turned = builder.shuffle_vector(loaded, loaded, ir.Constant(ir.VectorType(index, lanes), order))
            turned = builder.insert_element(turned, arguments[2], ir.Constant(index, lanes - 1 if towards_first else 0))
            builder.store(turned, written, align=source.dtype.bitwidth // 8)
            return context.get_dummy_value()

        return types.void(source, source, source.dtype), generate

    return shift_line


shift_line_down = _line_shifted(towards_first=True)
"""`target[0 … n − 2] = source[1 … n − 1]`, `target[n − 1] = edge`, where n is the number of cells in a cache line."""
shift_line_up = _line_shifted(towards_first=False)
"""`target[1 … n − 1] = source[0 … n − 2]`, `target[0] = edge`."""


def _in_order(builder: Any, bits: Any) -> Any:
    """The bits of a number to an integer of the same order, and back: all but the sign turned where that is set."""
    spread = builder.ashr(bits, ir.Constant(bits.type, bits.type.width - 1))
    return builder.xor(bits, builder.lshr(spread, ir.Constant(bits.type, 1)))


@intrinsic_of
def order_key(typing_context: Any, value: Any) -> Any:
    """A signed integer of the number's width that is ordered as numbers are; a NaN lies beyond one of the infinities.

    Integers have a least and a largest one that can be computed in any order, so that the compiler vectorises it.
    """
    integer = types.int64 if value == types.float64 else types.int32

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _in_order(builder, builder.bitcast(arguments[0], context.get_value_type(signature.return_type)))

    return integer(value), generate


@intrinsic_of
def number_of_key(typing_context: Any, key: Any) -> Any:
    """The number whose `order_key` this is."""
    number = types.float64 if key == types.int64 else types.float32

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(_in_order(builder, arguments[0]), context.get_value_type(signature.return_type))

    return number(key), generate


@intrinsic_of
def wide_product(typing_context: Any, left: Any, right: Any) -> Any:
    """Upper and lower half of the 128-bit product of two uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        one, other = (builder.zext(argument, wide) for argument in arguments)
        product = builder.mul(one, other)
        upper = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))
        return context.make_tuple(builder, signature.return_type, (upper, builder.trunc(product, ir.IntType(64))))

    return types.UniTuple(types.uint64, 2)(types.uint64, types.uint64), generate
