"""How one value of a configuration is refused: in the words of TOML, with places relative to where one stands."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve

from mfn_core.config._problems import Problem, join_path

__all__ = ["Rejected", "at_index", "at_key", "given", "refuse", "wrong_type"]

SHOWN = 60
"""Characters of a text that a message repeats."""


class Rejected(Exception):
    """A value that does not fit, with problems whose paths begin at that value: ``, `.key`, `[0]`."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)


def refuse(message: str, remedy: str = "") -> Rejected:
    """One problem with the value itself."""
    return Rejected([Problem(path="", message=message, remedy=remedy)])


def wrong_type(expected: str, value: object, remedy: str = "") -> Rejected:
    """The value is of another type than the one expected."""
    return refuse(f"expected {expected}, got {given(value)}", remedy)


def at_key(key: str, problems: Iterable[Problem]) -> list[Problem]:
    """The problems as seen from the table that has `key`."""
    return [evolve(problem, path=f".{join_path('', key)}{problem.path}") for problem in problems]


def at_index(index: int, problems: Iterable[Problem]) -> list[Problem]:
    """The problems as seen from the array."""
    return [evolve(problem, path=f"[{index}]{problem.path}") for problem in problems]


def given(value: object) -> str:
    """A value as TOML names it, shown where it is short."""
    if isinstance(value, bool):
        return f"the boolean {'true' if value else 'false'}"
    if isinstance(value, int):
        return f"the integer {value}"
    if isinstance(value, float):
        return f"the number {value}"
    if isinstance(value, str):
        shown = value if len(value) <= SHOWN else value[:SHOWN] + "…"
        return f"the string {json.dumps(shown, ensure_ascii=False)}"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "an array"
    if isinstance(value, datetime.date | datetime.time):
        return f"the date or time {value.isoformat()}"
    return f"a value of type {type(value).__name__}"


def described(kind: Any) -> str:
    """A type as TOML names it."""
    return _NAMES.get(kind, "a table")


_NAMES: Mapping[Any, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    datetime.datetime: "a date-time",
    datetime.date: "a date",
    datetime.time: "a time",
}
