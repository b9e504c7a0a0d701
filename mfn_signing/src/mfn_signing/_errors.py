"""What signing refuses, and how it says so: never with a secret in the text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Final

__all__ = ["InvalidKeyError", "KeysFileError", "MalformedError", "kind_of", "shown"]

_SHOWN_CHARACTERS: Final = 42
"""Longest text an error quotes: the shortest secret has 43 characters, and may stand in the wrong field."""


def shown(text: str) -> str:
    """`text` as an error may quote it: a text as long as a secret is described, not repeated."""
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else f"a text of {len(text)} characters"


_KINDS: Final = {
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    str: "a string",
    list: "an array",
    dict: "a table",
    datetime: "a date and time",
    date: "a date",
    time: "a time",
}


def kind_of(value: object) -> str:
    """What `value` is, with its article, in words that fit TOML and Python."""
    return _KINDS.get(type(value), f"a value of type {type(value).__name__}")


class MalformedError(ValueError):
    """A part of a signed request has not the form that the scheme gives it.

    Attributes:
        part: which one: `path`, `timestamp`, `nonce`, `content hash`, `method` or `secret`.
    """

    def __init__(self, part: str, problem: str) -> None:
        """Say what is wrong with `part`; `problem` states the bound and quotes nothing secret."""
        super().__init__(f"{part} {problem}")
        self.part = part
        self.problem = problem

    def __reduce__(self) -> tuple[type[MalformedError], tuple[str, str]]:
        """Rebuild from both arguments, so that the error crosses processes whole."""
        return MalformedError, (self.part, self.problem)


class InvalidKeyError(ValueError):
    """The fields of a key break its rules; `problems` has every one of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        """Join `problems`, each of the form `field: what is wrong; remedy`."""
        super().__init__("invalid key: " + "; and ".join(problems))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type[InvalidKeyError], tuple[tuple[str, ...]]]:
        """Rebuild from the problems, not from the joined text."""
        return InvalidKeyError, (self.problems,)


class KeysFileError(ValueError):
    """A keys file cannot be read, written or understood; `problems` has everything that is wrong with it."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        """Join `problems`, each naming its table and field, under the name of the file."""
        if len(problems) == 1:
            super().__init__(f"keys file {source}: {problems[0]}")
        else:
            lines = "".join(f"\n  - {problem}" for problem in problems)
            super().__init__(f"keys file {source}: {len(problems)} problems{lines}")
        self.source = source
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[type[KeysFileError], tuple[str, tuple[str, ...]]]:
        """Rebuild from both arguments, not from the joined text."""
        return KeysFileError, (self.source, self.problems)
