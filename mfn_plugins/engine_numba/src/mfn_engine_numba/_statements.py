"""Pieces of generated source: statements that each compute one new name, and pointers to the rows of species."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Statements", "slot_pointers"]


def slot_pointers(numbers: Iterable[int], slot: str = "slot") -> str:
    """Arguments that point to these species of a slot, each with its comma."""
    return "".join(f"shifted(cells, {slot} + {number} * pitch), " for number in numbers)


class Statements:
    """Lines of source, indented, with fresh names for intermediate results."""

    def __init__(self, indent: int) -> None:
        self.lines: list[str] = []
        self._indent = " " * indent
        self._names = 0

    def add(self, text: str) -> None:
        """One more line."""
        self.lines.append(self._indent + text)

    def name(self) -> str:
        """A name that stands nowhere yet."""
        self._names += 1
        return f"t{self._names}"

    def compute(self, text: str) -> str:
        """A line that gives the value of `text` a new name; that name."""
        name = self.name()
        self.add(f"{name} = {text}")
        return name
