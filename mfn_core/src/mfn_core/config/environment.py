"""Settings from environment variables: between the file, which they override, and the command line, which wins.

A plugin declares its own in `ComponentSpec.environment`, with the converters below or others.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import evolve, frozen

from mfn_core.config._document import Document
from mfn_core.config._problems import Problem, join_path

__all__ = [
    "EnvironmentName",
    "apply_environment",
    "boolean",
    "file_path",
    "megabytes",
    "milliseconds",
    "number",
    "port",
    "text",
    "whole_number",
]

Convert = Callable[[str, Any], Any]
"""`(text of the variable, value so far or None) -> TOML value`; None removes the setting. ValueError: what is wrong."""


@frozen(kw_only=True)
class EnvironmentName:
    """An environment variable that sets one setting of a table."""

    name: str
    """`GRPC_PORT`."""
    setting: tuple[str, ...]
    """Keys from the table to the setting: `("tls", "certificate")`."""
    convert: Convert


def apply_environment(
    document: Document,
    names: Iterable[tuple[tuple[str, ...], EnvironmentName]],
    problems: list[Problem],
    environ: Mapping[str, str] = os.environ,
) -> Document:
    """The document with the variables that are set, except where the command line has already spoken.

    Args:
        document: the file's tables with the overrides of the command line.
        names: with each variable, the keys of the table that its setting is of.
        problems: takes what is wrong with a variable; its value is not shown.
        environ: the environment.
    """
    tables: dict[str, Any] = copy.deepcopy(dict(document.tables))
    origins = dict(document.origins)
    for table, each in names:
        given = environ.get(each.name)
        keys = (*table, *each.setting)
        path = _path(keys)
        # Set on the command line; or set by a variable already, when a worker plans what its supervisor has planned.
        if given is None or path in document.origins:
            continue
        try:
            value = each.convert(given, _value(tables, keys))
        except ValueError as wrong:
            problems.append(
                Problem(path=f"environment {each.name}", message=f"{wrong} (it sets {path})", remedy="correct it")
            )
            continue
        if _set(tables, keys, value):
            origins[path] = f"environment {each.name}"
    return evolve(document, tables=tables, origins=origins)


def _path(keys: Iterable[str]) -> str:
    path = ""
    for key in keys:
        path = join_path(path, key)
    return path


def _value(tables: Mapping[str, Any], keys: Iterable[str]) -> Any:
    node: Any = tables
    for key in keys:
        if not isinstance(node, Mapping) or key not in node:
            return None
        node = node[key]
    return node


def _set(tables: dict[str, Any], keys: tuple[str, ...], value: Any) -> bool:
    node = tables
    for key in keys[:-1]:
        inner = node.get(key)
        if inner is None:
            if value is None:
                return False
            inner = node[key] = {}
        if not isinstance(inner, dict):
            return False  # the decoder says what is wrong with it
        node = inner
    if value is not None:
        node[keys[-1]] = value
        return True
    return node.pop(keys[-1], None) is not None


# Converters.


def text(given: str, present: Any) -> str:
    """As it stands."""
    return given


def file_path(given: str, present: Any) -> str:
    """A file name; relative ones are relative to the configuration, as in the file."""
    if not given:
        raise ValueError("is empty; give the name of a file")
    return given


def whole_number(given: str, present: Any) -> int:
    """Decimal digits."""
    try:
        return int(given)
    except ValueError:
        raise ValueError("is not a whole number") from None


def number(given: str, present: Any) -> float:
    """A decimal number."""
    try:
        return float(given)
    except ValueError:
        raise ValueError("is not a number") from None


def milliseconds(given: str, present: Any) -> float:
    """Milliseconds, as seconds."""
    return number(given, present) / 1000.0


def megabytes(given: str, present: Any) -> int:
    """Megabytes of 2²⁰ bytes, as bytes."""
    return whole_number(given, present) * 1024 * 1024


def boolean(given: str) -> bool:
    """`true` or `false`, also as 1, 0, yes, no, on, off."""
    lowered = given.strip().lower()
    if lowered in ("true", "1", "yes", "on"):
        return True
    if lowered in ("false", "0", "no", "off"):
        return False
    raise ValueError("is neither true nor false")


def port(default: str) -> Convert:
    """A port number, put into an address; `default` is the setting's own."""

    def convert(given: str, present: Any) -> str:
        value = whole_number(given, present)
        if not 0 <= value <= 65_535:
            raise ValueError("is not a port; ports are 0 to 65535")
        address = present if isinstance(present, str) else default
        return f"{address.rpartition(':')[0]}:{value}"

    return convert
