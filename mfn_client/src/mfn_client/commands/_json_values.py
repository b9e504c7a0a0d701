"""JSON objects one after the other: on lines of their own, over many lines, or all on one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["MAX_OBJECT_CHARACTERS", "ObjectSplitter", "objects_in"]

MAX_OBJECT_CHARACTERS = 64 * 1024 * 1024
"""Longest text of one object."""

_NOTABLE = re.compile(r'["{}]')
_STRING_END = re.compile(r'["\\]')
_SPACE = " \t\r\n"


class ObjectSplitter:
    """Finds where each object ends, without understanding it; text may be fed in any pieces.

    Objects are told apart by their braces, so that a line, a pretty-printed object and several objects on one line
    are all the same to it.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._line = 1
        self._began = 1

    def feed(self, text: str) -> Iterator[str]:
        """The objects that end within `text`.

        Raises:
            ValueError: between objects stands something else, or one is too long.
        """
        start = position = 0
        while position < len(text):
            if self._depth == 0:
                position = start = self._skip_to_object(text, position)
                if position == len(text):
                    return
            position, ended = self._scan(text, position)
            if ended:
                self._keep(text[start:position])
                found = "".join(self._parts)
                self._parts, self._length = [], 0
                start = position
                yield found
        self._keep(text[start:])

    def close(self) -> None:
        """Called after the last text.

        Raises:
            ValueError: an object is not finished.
        """
        if self._depth:
            raise ValueError(f"line {self._began}: the object that begins here does not end")

    def _skip_to_object(self, text: str, position: int) -> int:
        while position < len(text) and text[position] in _SPACE:
            self._line += text[position] == "\n"
            position += 1
        if position < len(text):
            if text[position] != "{":
                found = text[position : position + 20].partition("\n")[0]
                raise ValueError(f"line {self._line}: a JSON object is expected, found {found!r}")
            self._began = self._line
        return position

    def _scan(self, text: str, position: int) -> tuple[int, bool]:
        """Where to go on, and whether an object ends there."""
        began = position
        ended = False
        while position < len(text) and not ended:
            if self._escaped:
                self._escaped = False
                position += 1
                continue
            notable = (_STRING_END if self._in_string else _NOTABLE).search(text, position)
            if notable is None:
                position = len(text)
                break
            position = notable.end()
            mark = notable.group()
            if mark == '"':
                self._in_string = not self._in_string
            elif mark == "\\":
                self._escaped = True
            else:
                self._depth += 1 if mark == "{" else -1
                ended = self._depth == 0
        self._line += text.count("\n", began, position)
        return position, ended

    def _keep(self, part: str) -> None:
        self._length += len(part)
        if self._length > MAX_OBJECT_CHARACTERS:
            raise ValueError(f"line {self._began}: the object has more than {MAX_OBJECT_CHARACTERS} characters")
        self._parts.append(part)


def objects_in(texts: Iterable[str]) -> Iterator[str]:
    """The texts of all objects in `texts`, which are pieces of one text.

    Raises:
        ValueError: as `ObjectSplitter`.
    """
    splitter = ObjectSplitter()
    for text in texts:
        yield from splitter.feed(text)
    splitter.close()
