"""A setting's value as TOML and JSON would write it."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from mfn_core.config._secret import REDACTED, Secret

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Strings, numbers, booleans, lists and dictionaries for a decoded value; a secret is `[REDACTED]`.

    What is unset stays None, which JSON has and TOML has not.
    """
    if isinstance(value, Secret):
        return REDACTED
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if attrs.has(type(value)):
        return {a.alias or a.name: plain(getattr(value, a.name)) for a in attrs.fields(type(value)) if a.init}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return value
