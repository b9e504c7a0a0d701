"""Why a call was refused, as its record has it: in no words of the request."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from mfn_core.call import Call
from mfn_core.errors import Code, MfnError

__all__ = ["recorded_reason"]

QUOTING = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.FAILED_PRECONDITION,
        Code.OUT_OF_RANGE,
        Code.UNIMPLEMENTED,
    }
)
"""Codes whose message may quote what the request said, so that its caller knows what to mend."""

PATHS_KEPT = 8
"""Fields at fault that a record names; of more it has the number."""
LONGEST_PATH = 120
"""Characters of a path in a record; lists may stand in lists."""

_name = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_index = re.compile(r"\[[0-9]{1,10}\](?=\.|$)")
_ELIDED = "…"


def recorded_reason(call: Call, error: MfnError) -> str:
    """The reason that was given for the record; without one, what of the message is not the caller's.

    Where the code is one whose message may quote the request, that is the paths of the fields at fault. What is no
    field's name in the definition of the request is left out of them, keys of maps above all: a JSON object can have
    any text for a name.
    """
    if error.code not in QUOTING or error.reason != error.message:
        return error.reason
    request_type: object = call.operation.request_type
    fields, maps = _names(request_type)
    found = (_in_names_alone(each.field, fields, maps) for each in error.violations)
    paths = list(dict.fromkeys(path if len(path) <= LONGEST_PATH else path[:LONGEST_PATH] + _ELIDED for path in found))
    if not paths:
        return "what its caller was told may quote the request, and is not kept"
    more = f" and {len(paths) - PATHS_KEPT} more" if len(paths) > PATHS_KEPT else ""
    return f"at fault: {', '.join(paths[:PATHS_KEPT])}{more}"


def _in_names_alone(path: str, fields: frozenset[str], maps: frozenset[str]) -> str:
    """The path up to the first part that is neither a field's name nor a place in a list."""
    if not path:
        return "the message"
    position, kept = 0, ""
    while (found := _name.match(path, position)) is not None and found.group() in fields:
        kept += found.group()
        position = found.end()
        if position == len(path):
            return kept
        index = None if found.group() in maps else _index.match(path, position)
        if index is not None:
            kept += index.group()
            position = index.end()
            if position == len(path):
                return kept
        elif path[position] == "[":
            return f"{kept}[{_ELIDED}]"
        if path[position] != ".":
            return kept + _ELIDED
        kept += "."
        position += 1
    return kept + _ELIDED


@lru_cache(maxsize=256)
def _names(request_type: object) -> tuple[frozenset[str], frozenset[str]]:
    """Every name of a field or of a choice that a request can have at any depth, and those of maps among them."""
    fields: set[str] = set()
    maps: set[str] = set()
    # What stands for an operation that does not exist has no definition.
    descriptor = getattr(request_type, "DESCRIPTOR", None)
    waiting: list[Any] = [] if descriptor is None else [descriptor]
    seen: set[str] = set()
    while waiting:
        message = waiting.pop()
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        fields.update(each.name for each in message.oneofs)
        for field in message.fields:
            fields.add(field.name)
            inner = field.message_type
            if inner is not None:
                if inner.GetOptions().map_entry:
                    maps.add(field.name)
                waiting.append(inner)
    return frozenset(fields), frozenset(maps)
