"""The language of formulas: what it reads, what it refuses, and that nothing it does changes a bit."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_model.expressions import (
    FUNCTIONS,
    NUMPY_FUNCTIONS,
    Binary,
    Coefficient,
    Expression,
    ExpressionError,
    Function,
    Name,
    Number,
    Power,
    Unary,
    evaluate,
    evaluate_number,
    fold,
    hoist,
    is_name,
    operands,
    parse,
    reduce,
    walk,
)

A, B, C = Name("a"), Name("b"), Name("c")

NUMBERS = st.floats(min_value=0.0, allow_nan=False, allow_infinity=False).map(Number)
LEAVES = NUMBERS | st.sampled_from([A, B, C])


def _inner(below: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    functions = [st.builds(Function, st.just(name), st.tuples(*[below] * count)) for name, count in FUNCTIONS.items()]
    return (
        st.builds(Binary, st.sampled_from("+-*/"), below, below)
        | st.builds(Unary, below)
        | st.builds(Power, below, st.integers(0, 8))
        | st.one_of(functions)
    )


TREES = st.recursive(LEAVES, _inner, max_leaves=12)


def same_bits(one: Any, other: Any) -> bool:
    return np.float64(one).tobytes() == np.float64(other).tobytes() or (math.isnan(one) and math.isnan(other))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a", A),
        ("12", Number(12.0)),
        ("1e-3", Number(0.001)),
        ("a - b - c", Binary("-", Binary("-", A, B), C)),
        ("a - (b - c)", Binary("-", A, Binary("-", B, C))),
        ("a / b * c", Binary("*", Binary("/", A, B), C)),
        ("a + b * c", Binary("+", A, Binary("*", B, C))),
        ("-a**2", Unary(Power(A, 2))),
        ("(-a)**2", Power(Unary(A), 2)),
        ("a * -b", Binary("*", A, Unary(B))),
        ("-a * b", Binary("*", Unary(A), B)),
        ("minimum(a, exp(b))", Function("minimum", (A, Function("exp", (B,))))),
        ("a**0", Power(A, 0)),
        (" a\n\t+ b ", Binary("+", A, B)),
        ("(((a)))", A),
    ],
)
def test_a_text_is_read_in_the_order_in_which_it_is_written(text: str, tree: Expression) -> None:
    assert parse(text) == tree


@given(TREES)
def test_a_tree_reads_back_from_its_text(tree: Expression) -> None:
    assert parse(str(tree)) == tree


@given(TREES)
def test_a_tree_survives_pickling_and_is_hashable(tree: Expression) -> None:
    received = pickle.loads(pickle.dumps(tree))
    assert received == tree
    assert hash(received) == hash(tree)


@pytest.mark.parametrize(
    ("text", "column", "problem"),
    [
        ("", 1, "is empty"),
        (" \n ", 1, "is empty"),
        ("a +", 3, "cannot be read"),
        ("a b", None, "cannot be read"),
        ("a\n+ ]", None, "cannot be read"),
        ("a) + (b", None, "cannot be read"),
        ("lambda", 6, "cannot be read"),
        ("a # b", 3, "'#' is not allowed"),
        ("a\x00", 2, "is not allowed"),
        ("a + µ", 5, "'µ' is not allowed"),
        ("  x + +a", 7, "this is not allowed"),
        ("a if b else c", 1, "this is not allowed"),
        ("a < b", 1, "this is not allowed"),
        ("a % b", 1, "this is not allowed"),
        ("a // b", 1, "this is not allowed"),
        ("a.real", 1, "this is not allowed"),
        ("a[0]", 1, "this is not allowed"),
        ("exp(*a)", 5, "this is not allowed"),
        ("(lambda: a)()", 1, "this is not allowed"),
        ("b * 'x'", 5, "'x' is no number"),
        ("True", 1, "True is no number"),
        ("2j", 1, "2j is no number"),
        ("1e999", 1, "too large"),
        ("9" * 400, 1, "too large"),
        ("a**9", 4, "the exponent"),
        ("a**-1", 4, "the exponent"),
        ("a**2.0", 4, "the exponent"),
        ("a**b", 4, "the exponent"),
        ("a**True", 4, "the exponent"),
        ("eval(a)", 1, "there is no function 'eval'"),
        ("1 + exp(a, b)", 5, "exp takes 1"),
        ("tanh()", 1, "tanh takes 1"),
        ("minimum(a, b=c)", 1, "minimum takes 2"),
        ("a+" * 150 + "a", 1, "more than 100 operations"),
        ("-" * 500 + "a", 102, "more than 100 operations"),
        ("(" * 900 + "a" + ")" * 900, None, "cannot be read"),
        ("a" * 3000, 2001, "longer than 2000"),
    ],
)
def test_anything_else_is_refused_with_its_place(text: str, column: int | None, problem: str) -> None:
    with pytest.raises(ExpressionError, match=r"column \d+: ") as caught:
        parse(text)
    error = caught.value
    assert problem in str(error)
    assert error.text == text
    assert error.position in (
        range(len(text)) if column is None else [column - 1]
    )  # Python's own vary with its version
    assert f"column {error.position + 1}: " in str(error)
    assert len(str(error)) < 400
    received = pickle.loads(pickle.dumps(error))
    assert (received.text, received.position, str(received)) == (error.text, error.position, str(error))


@given(st.text(alphabet="ab1.*+-/()e ,\n_#'[]λ", max_size=30))
def test_whatever_is_read_is_a_tree_or_an_error_of_its_own(text: str) -> None:
    try:
        tree = parse(text)
    except ExpressionError as error:
        position = error.position
    else:
        position = 0
        assert parse(str(tree)) == tree
    assert 0 <= position <= len(text)


@pytest.mark.parametrize("name", ["a", "d_u", "D1", "Theta"])
def test_a_plain_word_is_a_name(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "1a", "_a", "a-b", "α", "lambda", "None", "exp", "a b", None, 3])
def test_no_name_is_what_the_language_could_not_read_as_one(name: object) -> None:
    assert not is_name(name)


@given(TREES, st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_folding_and_hoisting_change_no_bit(tree: Expression, numbers: list[float]) -> None:
    values = dict(zip("abc", map(np.float64, numbers), strict=True))
    some = {name: float(values[name]) for name in "ab"}
    with np.errstate(all="ignore"):
        whole = evaluate_number(tree, values)
        folded = fold(tree, some)
        assert not folded.names & some.keys()
        assert same_bits(evaluate_number(folded, values), whole)
        table: list[Expression] = []
        hoisted = hoist(tree, frozenset("c"), table)
        assert hoisted.names <= {"c"}
        coefficients = [np.float64(evaluate_number(part, some)) for part in table]
        cell = evaluate(hoisted, {"c": np.full(3, values["c"])}, coefficients=coefficients)
        assert same_bits(np.broadcast_to(cell, 3)[0], whole) or _only_transcendental(tree)


def _only_transcendental(tree: Expression) -> bool:
    """Whether NumPy may give an array another last place than a number."""
    return any(isinstance(node, Function) and node.name in ("exp", "tanh") for node in walk(tree))


def test_evaluation_takes_numbers_arrays_and_complex_numbers() -> None:
    tree = parse("a * (1 - a) - b / 2")
    assert evaluate(tree, {"a": 0.25, "b": 0.5}) == 0.25 * 0.75 - 0.25
    grid = np.linspace(0.0, 1.0, 12).reshape(3, 4)
    assert np.array_equal(evaluate(tree, {"a": grid, "b": 0.5}), grid * (1.0 - grid) - 0.5 / 2.0)
    step = 1e-30
    derivative = evaluate(tree, {"a": 0.25 + step * 1j, "b": 0.5}).imag / step
    assert derivative == pytest.approx(1 - 2 * 0.25, rel=1e-15)
    with pytest.raises(KeyError, match="b"):
        evaluate(tree, {"a": 1.0})


def test_a_power_is_a_product_from_the_left() -> None:
    x = np.nextafter(1.1, 2.0) * np.arange(1.0, 50.0)
    cube = evaluate(parse("a**3"), {"a": x})
    assert np.array_equal(cube, (x * x) * x)
    assert np.array_equal(evaluate(parse("a**8"), {"a": x}), x * x * x * x * x * x * x * x)
    assert evaluate(parse("a**1"), {"a": 3.0}) == 3.0
    assert evaluate(parse("a**0"), {"a": math.nan}) == 1.0


def test_what_has_no_finite_value_is_infinite_or_not_a_number() -> None:
    assert evaluate_number(parse("1 / 0"), {}) == math.inf
    assert evaluate_number(parse("-1 / (a - a)"), {"a": 2.0}) == -math.inf
    assert math.isnan(evaluate_number(parse("sqrt(-a)"), {"a": 2.0}))
    assert evaluate_number(parse("exp(a)"), {"a": 1e6}) == math.inf
    assert math.isnan(evaluate_number(parse("minimum(a, sqrt(-1))"), {"a": 2.0}))
    assert str(fold(parse("b + 1 / a"), {"a": 0.0})) == "b + inf"


def test_the_functions_are_those_of_numpy() -> None:
    values = {"a": 0.7, "b": -0.2}
    assert NUMPY_FUNCTIONS.keys() == FUNCTIONS.keys()
    assert evaluate_number(parse("exp(b) + tanh(a)"), values) == pytest.approx(math.exp(-0.2) + math.tanh(0.7), 1e-15)
    assert evaluate_number(parse("minimum(a, b) * maximum(a, b) + abs(b) - sqrt(a)"), values) == (
        -0.2 * 0.7 + 0.2 - math.sqrt(0.7)
    )
    other = evaluate(parse("exp(a)"), {"a": 2.0}, {"exp": lambda value: ("e", value)})
    assert other == ("e", 2.0)


def test_hoisting_takes_the_largest_parts_once() -> None:
    table: list[Expression] = [Name("d")]
    tree = hoist(parse("k * (q + 1) * u - k * (q + 1) + d * u + 2"), frozenset("u"), table)
    assert [str(part) for part in table] == ["d", "k * (q + 1)"]
    assert str(tree) == "c[1] * u - c[1] + c[0] * u + 2"
    assert tree.names == {"u"}
    assert hoist(Number(2.0), frozenset(), []) == Number(2.0)
    assert hoist(parse("2 * 3"), frozenset(), table) == Coefficient(2)


def test_a_product_that_begins_with_a_variable_is_not_regrouped() -> None:
    table: list[Expression] = []
    assert str(hoist(parse("u * k * q"), frozenset("u"), table)) == "u * c[0] * c[1]"
    assert str(fold(parse("u * k * q"), {"k": 0.1, "q": 3.0})) == "u * 0.1 * 3"


def test_what_was_hoisted_cannot_be_folded_away() -> None:
    assert fold(Binary("+", Coefficient(0), A), {"a": 1.0}) == Binary("+", Coefficient(0), Number(1.0))


def test_operands_come_before_the_operation() -> None:
    tree = parse("-a + b * 2")
    assert [str(node) for node in walk(tree)] == ["a", "-a", "b", "2", "b * 2", "-a + b * 2"]
    assert [str(node) for node in operands(tree)] == ["-a", "b * 2"]
    assert reduce(tree, lambda node, parts: 1 + sum(parts)) == 6
    assert tree.names == {"a", "b"}
