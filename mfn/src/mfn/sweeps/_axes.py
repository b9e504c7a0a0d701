"""The values along one axis of a sweep, as a person writes them.

`0.1` is one value, `0.1,0.25` are two, and `0.1:0.2:5` are five, equally spaced, both ends included. `true` and
`false`, or `on` and `off`, are the values of a switch. For seeds `0:100` are the hundred whole numbers from 0 to 99.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import TypeVar

from mfn_model import ParameterValue

__all__ = ["MAXIMUM_VALUES", "numbers", "parameter_values", "seeds", "thresholds"]

MAXIMUM_VALUES = 10_000_000
"""Of one axis, and simulations of one sweep."""

T = TypeVar("T", bound=float)

_EXPONENT = re.compile(r"[eE]([+-]?[0-9_]+)")

_LARGEST_COUNT = 2**63 - 1
"""Of steps and cells along a side: what a table can hold."""

_SWITCH = {"true": True, "on": True, "false": False, "off": False}


def parameter_values(name: str, given: object) -> tuple[ParameterValue, ...]:
    """The values of a parameter: of text as above, of a number, of a switch, or of a sequence of these.

    Raises:
        ValueError: the text cannot be read, there is no value, or one stands twice; it names the axis.
    """
    found: list[ParameterValue] = []
    for item in _items(name, given):
        if isinstance(item, bool | int | float):
            found.append(item if isinstance(item, bool) else float(item))
        elif item.lower() in _SWITCH:
            found.append(_SWITCH[item.lower()])
        else:
            found.extend(float(value) for value in _spaced(name, item))
    return _distinct(name, found)


def numbers(name: str, given: object) -> tuple[int, ...]:
    """Whole numbers: of text as above, of a number, or of a sequence of these.

    Raises:
        ValueError: as `parameter_values`, and for a value that is not whole.
    """
    found: list[int] = []
    for item in _items(name, given):
        values = _spaced(name, item) if isinstance(item, str) else [Fraction(item)]
        for value in values:
            if isinstance(item, bool) or value.denominator != 1:
                raise ValueError(f"{name} takes whole numbers, got {float(value):g} from {given!r}")
            if abs(value) > _LARGEST_COUNT:
                raise ValueError(f"{name} takes whole numbers of at most {_LARGEST_COUNT}, got {float(value):g}")
            found.append(int(value))
    return _distinct(name, found)


def seeds(given: object) -> Sequence[int]:
    """Seeds: of text such as `7`, `1,2,3` or `0:100`, which ends before 100, of a number, or of a sequence of these.

    Raises:
        ValueError: the text cannot be read, there is no seed, or one stands twice.
    """
    if isinstance(given, range):
        given = list(given) if given.step != 1 else f"{given.start}:{given.stop}"
    ranges: list[range] = []
    for item in _items("seeds", given):
        if isinstance(item, str):
            ranges.append(_seed_range(item))
        elif isinstance(item, bool) or item != int(item):
            raise ValueError(f"a seed is a whole number, got {item!r}")
        else:
            ranges.append(range(int(item), int(item) + 1))
    if len(ranges) == 1:
        return ranges[0]
    return _distinct("seeds", [seed for each in ranges for seed in each])


def thresholds(given: object) -> tuple[float, float, float]:
    """Three rising numbers: text such as `-65,-60,-55`, or a sequence.

    Raises:
        ValueError: they are not three numbers that rise.
    """
    found = parameter_values("thresholds", given)
    if len(found) != 3 or any(isinstance(value, bool) for value in found) or not found[0] < found[1] < found[2]:
        raise ValueError(f"thresholds are three numbers that rise, such as -60,-50,-40, got {given!r}")
    low, medium, high = found
    return float(low), float(medium), float(high)


def _seed_range(text: str) -> range:
    first, colon, end = text.partition(":")
    try:
        found = range(int(first), int(end) if colon else int(first) + 1)
    except ValueError:
        raise ValueError(f"seeds are written as 7, 1,2,3 or 0:100 (0 to 99), got {text!r}") from None
    if not found:
        raise ValueError(f"seeds {text!r} hold no seed: the end, which is left out, must be above the start")
    if len(found) > MAXIMUM_VALUES:
        raise ValueError(f"seeds {text!r} are {len(found)}, the bound is {MAXIMUM_VALUES}; split the sweep")
    return found


def _items(name: str, given: object) -> list[str | int | float]:
    """The parts of an axis that stand between commas, or are the items of a sequence."""
    if isinstance(given, str):
        parts: list[object] = list(given.split(","))
    elif isinstance(given, Sequence):
        parts = list(given)
    else:
        item = getattr(given, "tolist", None)  # an array or a number of NumPy
        plain = given if item is None else item()
        parts = plain if isinstance(plain, list) else [plain]
    found: list[str | int | float] = []
    for part in parts:
        scalar = part.item() if hasattr(part, "item") else part
        text = scalar.strip() if isinstance(scalar, str) else scalar
        if (
            not isinstance(text, str | int | float)
            or text == ""
            or (isinstance(text, float) and not math.isfinite(text))
        ):
            raise ValueError(
                f"{name} has a value that cannot be read: {part!r}; write 0.1, 0.1,0.2 or 0.1:0.2:5 (five values)"
            )
        found.append(text)
    if not found:
        raise ValueError(f"{name} has no value; give at least one")
    return found


def _spaced(name: str, text: str) -> list[Fraction]:
    """One value, or equally spaced ones. In fractions, so that a step of 0.05 gives 0.15 and not its neighbour."""
    pieces = text.split(":")
    try:
        if len(pieces) == 1:
            return [_fraction(text)]
        first, last = _fraction(pieces[0]), _fraction(pieces[1])
        count = int(pieces[2])
    except (ValueError, IndexError, ZeroDivisionError):
        raise ValueError(
            f"{name} cannot be read: {text!r}; write 0.1, 0.1,0.2 or 0.1:0.2:5 (five values, both ends included)"
        ) from None
    if len(pieces) > 3 or not 2 <= count <= MAXIMUM_VALUES:
        raise ValueError(
            f"{name} cannot be read: {text!r}; a range is first:last:count with a count of 2 to {MAXIMUM_VALUES}"
        )
    return [first + (last - first) * i / (count - 1) for i in range(count)]


def _fraction(text: str) -> Fraction:
    exponent = _EXPONENT.search(text)
    if exponent is not None and abs(int(exponent[1])) > 300:
        raise ValueError(text)  # before 10 to the power of it is computed
    value = Fraction(text.strip())
    if abs(value) > 10**300:
        raise ValueError(text)
    return value


def _distinct(name: str, found: list[T]) -> tuple[T, ...]:
    if len(found) > MAXIMUM_VALUES:
        raise ValueError(f"{name} has {len(found)} values, the bound is {MAXIMUM_VALUES}; split the sweep")
    seen: set[tuple[type, object]] = set()
    for value in found:
        if (type(value), value) in seen:
            raise ValueError(f"{name} has {value} twice; keep one")
        seen.add((type(value), value))
    return tuple(found)
