"""Statements of a generated block, each of which computes one new name."""

from __future__ import annotations

__all__ = ["Statements"]


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
