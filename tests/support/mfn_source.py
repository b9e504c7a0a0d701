"""What is counted and looked up in sources."""

from __future__ import annotations

import ast
import importlib
import io
import tokenize
from collections.abc import Iterator

__all__ = ["code_lines", "private_names"]

_SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(text: str) -> int:
    """Lines that hold code: all but blank ones, comments and docstrings."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node) is not None:
            docstrings.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _SILENT:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def private_names(text: str) -> Iterator[str]:
    """What a source takes from our distributions that is not public, and what it touches that begins with `_`.

    Public are the names in `__all__` of those modules of `mfn_core` and `mfn_model` that do not begin with `_`. What is
    of `self` is the source's own.
    """
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (f"import {alias.name}" for alias in node.names if alias.name.startswith("mfn"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mfn"):
            module = str(node.module)
            if module.split(".")[0] not in ("mfn_core", "mfn_model") or any(p[0] == "_" for p in module.split(".")):
                yield module
            else:
                public = set(importlib.import_module(module).__all__)
                yield from (f"{module}.{alias.name}" for alias in node.names if alias.name not in public)
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not _is_self(node.value):
            yield node.attr


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"
