"""The configuration as it is written: tables of a TOML file, with the overrides of the command line on top."""

from __future__ import annotations

import copy
import datetime
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from mfn_core.config._problems import ConfigError, Problem, join_path

__all__ = ["Document", "override", "read_document"]

MAX_BYTES = 1 << 20
"""Largest configuration file that is read."""


@frozen(kw_only=True)
class Document:
    """A configuration that has been read and not yet decoded."""

    tables: Mapping[str, Any] = field(repr=False)  # may hold secrets in the clear
    """Top-level tables as TOML gives them."""
    base_dir: Path
    """Absolute; relative paths in the tables start here."""
    source: str
    """What to call it in a message: the path of its file, or `command line`."""
    origins: Mapping[str, str] = field(factory=dict)
    """Where a setting comes from that is not from the file, by its TOML path: `flag`, `environment GRPC_PORT`."""

    def to_json(self) -> str:
        """Text that `from_json` reads, for the worker processes. It holds what the file holds, secrets included."""
        content = {
            "tables": _escape(self.tables),
            "base_dir": str(self.base_dir),
            "source": self.source,
            "origins": dict(self.origins),
        }
        return json.dumps(content, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Document:
        """The document that `to_json` wrote.

        Raises:
            ValueError: the text is not from `to_json`; the error does not show it.
        """
        try:
            content = json.loads(text)
            return cls(
                tables=_unescape(content["tables"]),
                base_dir=Path(content["base_dir"]),
                source=content["source"],
                origins=content["origins"],
            )
        except (ValueError, KeyError, TypeError) as wrong:
            raise ValueError(f"not a configuration document: {type(wrong).__name__}") from None


def read_document(path: Path | None, overrides: Sequence[str] = ()) -> Document:
    """Read a TOML file and apply overrides.

    Args:
        path: the file; None: start from nothing, with the current directory as the base.
        overrides: `dotted.path=VALUE`, each applied after the one before. The value is TOML; what is not TOML and
            does not begin as an array, an inline table or a quoted string is text: `log_level=debug`,
            `listen=127.0.0.1:0`. Segments are quoted as in TOML: `transports."grpc/public".listen=…`.

    Raises:
        ConfigError: with every problem: the file cannot be read or is not TOML (with line and column), an override
            is malformed. Values of overrides are not shown.
    """
    problems: list[Problem] = []
    document = Document(tables={}, base_dir=Path.cwd(), source="command line")
    if path is not None:
        try:
            document = Document(tables=_read(path), base_dir=path.absolute().parent, source=str(path))
        except ConfigError as failed:
            problems.extend(failed.problems)
    try:
        document = override(document, overrides)
    except ConfigError as failed:
        problems.extend(failed.problems)
    if problems:
        raise ConfigError(problems)
    return document


def override(document: Document, overrides: Sequence[str]) -> Document:
    """A copy of the document with overrides applied, each as in `read_document`.

    Raises:
        ConfigError: with every override that is malformed.
    """
    tables: dict[str, Any] = copy.deepcopy(dict(document.tables))
    origins = dict(document.origins)
    problems: list[Problem] = []
    for text in overrides:
        try:
            keys, value = _parse_override(text)
            _apply(tables, keys, value)
            origins[_joined(keys)] = "flag"
        except ConfigError as failed:
            problems.extend(failed.problems)
    if problems:
        raise ConfigError(problems)
    return evolve(document, tables=tables, origins=origins)


def _joined(keys: Sequence[str]) -> str:
    path = ""
    for key in keys:
        path = join_path(path, key)
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _one(str(path), "no such file", "name the configuration file with -c FILE") from None
    except OSError as failed:
        raise _one(str(path), f"cannot be read: {failed.strerror or failed}") from failed
    if len(raw) > MAX_BYTES:
        raise _one(str(path), f"is larger than {MAX_BYTES} bytes", "is it a configuration file?")
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as wrong:
        raise _one(str(path), f"is not UTF-8 at byte {wrong.start}", "save it as UTF-8") from wrong
    except tomllib.TOMLDecodeError as wrong:
        # Its text ends with "(at line L, column C)" and shows nothing of the file but single characters.
        text = str(wrong)
        raise _one(str(path), f"not TOML: {text[:1].lower()}{text[1:]}") from wrong
    except RecursionError:
        raise _one(str(path), "not TOML: nested too deeply") from None


def _parse_override(override: str) -> tuple[list[str], Any]:
    name, equals, value = _split_override(override)
    if not equals or not name:
        raise _one(_shown(name), "is not an override", "write it as dotted.path=value")
    keys = _parse_keys(name)
    if keys is None:
        raise _one(
            _shown(name),
            "is not a dotted path",
            "quote a segment that has other characters than letters, digits, - and _: "
            'transports."grpc/public".listen=…',
        )
    if not value:
        raise _one(name, "the override has no value", "write '' for an empty text")
    try:
        parsed = tomllib.loads(f"value = {value}")
    except (tomllib.TOMLDecodeError, RecursionError):
        parsed = {}
    if parsed.keys() == {"value"}:
        return keys, parsed["value"]
    if value[0] in "\"'[{" or any(ord(character) < 0x20 for character in value):
        raise _one(name, "the value of the override is not TOML", "a text may stand without quotes if it is one line")
    return keys, value


def _split_override(override: str) -> tuple[str, str, str]:
    """Split at the first `=` that stands outside quotes."""
    quote = ""
    for position, character in enumerate(override):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "=":
            return override[:position].strip(), "=", override[position + 1 :].strip()
    return override, "", ""


def _parse_keys(name: str) -> list[str] | None:
    """The segments of a dotted key, by TOML's own rules."""
    if "\n" in name or name.lstrip().startswith("["):
        return None
    try:
        node: Any = tomllib.loads(f"{name} = 0")
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    keys = []
    while isinstance(node, dict):
        if len(node) != 1:
            return None
        ((key, node),) = node.items()
        keys.append(key)
    return keys


def _apply(tables: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    path = ""
    node = tables
    for key in keys[:-1]:
        path = join_path(path, key)
        inner = node.setdefault(key, {})
        if not isinstance(inner, dict):
            raise _one(
                join_path(path, keys[-1]),
                f"cannot be set: {path} is not a table",
                "mend the path of the override",
            )
        node = inner
    node[keys[-1]] = value


def _shown(name: str) -> str:
    """What came before a `=`, or the beginning of an argument without one: it may be anything."""
    return repr(name[:40] + "…") if len(name) > 40 else repr(name)


def _one(path: str, message: str, remedy: str = "") -> ConfigError:
    return ConfigError([Problem(path=path, message=message, remedy=remedy)])


# JSON has no dates: {"$date": "2030-01-01"} stands for one, and a table with such a key is wrapped in {"$table": …}.

_TEMPORAL: Mapping[str, Any] = {
    "$datetime": datetime.datetime,
    "$date": datetime.date,
    "$time": datetime.time,
}


def _escape(value: Any) -> Any:
    if isinstance(value, Mapping):
        table = {key: _escape(item) for key, item in value.items()}
        return {"$table": table} if any(key.startswith("$") for key in table) else table
    if isinstance(value, list | tuple):
        return [_escape(item) for item in value]
    for tag, kind in _TEMPORAL.items():  # datetime before date, of which it is a subclass
        if isinstance(value, kind):
            return {tag: value.isoformat()}
    return value


def _unescape(value: Any) -> Any:
    if isinstance(value, list):
        return [_unescape(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == "$table":
            return {name: _unescape(item) for name, item in inner.items()}
        if key in _TEMPORAL:
            return _TEMPORAL[key].fromisoformat(inner)
    return {key: _unescape(item) for key, item in value.items()}
