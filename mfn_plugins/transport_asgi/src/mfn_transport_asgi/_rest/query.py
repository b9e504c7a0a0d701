"""The request that a path and a query say, as the JSON of its message.

A name is that of a field, in either form; `simulation.grid_size` is a field of a message in the request, a list repeats
its name, and `parameters[alpha]` is a value of a map.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from mfn_core.errors import FieldViolation, MfnError
from mfn_transport_asgi._json.refusal import shown

__all__ = ["add_variables", "field_of", "map_value", "query_content"]

DEEPEST = 16
"""Names in one name."""

_NAME = re.compile(r"([^\[\]]*)\[([^\[\]]*)\]")
_TRUTHS = {"true": True, "false": False}


def query_content(query: bytes, descriptor: Descriptor) -> dict[str, Any]:
    """The JSON of the message that a query stands for. Names that are none of its fields are in it too: whoever makes a
    message of it refuses them.

    Raises:
        MfnError: INVALID_ARGUMENT: a value is not UTF-8, or stands twice.
    """
    content: dict[str, Any] = {}
    for part in query.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            _place(content, descriptor, _text(name, name), _text(value, name))
    return content


def add_variables(content: dict[str, Any], variables: Mapping[str, bytes], descriptor: Descriptor) -> None:
    """Put what the path says beside the rest of a request.

    Raises:
        MfnError: INVALID_ARGUMENT: it is not UTF-8, or the rest says it too.
    """
    for name, value in variables.items():
        _place(content, descriptor, name, _text(value, name.encode()))


def field_of(descriptor: Descriptor, name: str) -> FieldDescriptor | None:
    """The field of a message that either of its names means."""
    found: FieldDescriptor | None = descriptor.fields_by_name.get(name)
    if found is None:
        found = next((field for field in descriptor.fields if field.json_name == name), None)
    return found


def map_value(field: FieldDescriptor) -> FieldDescriptor | None:
    """The field of the values that a map holds; None: it is none."""
    entry = field.message_type
    return entry.fields_by_name["value"] if entry is not None and entry.GetOptions().map_entry else None


def _place(content: dict[str, Any], descriptor: Descriptor, name: str, value: str) -> None:
    bracketed = _NAME.fullmatch(name)
    path = name if bracketed is None else bracketed[1]
    steps = path.split(".")
    if len(steps) > DEEPEST:
        raise _refused(name, f"has {len(steps)} names, {DEEPEST} at most")
    for position, step in enumerate(steps):
        field = field_of(descriptor, step)
        last = position == len(steps) - 1
        message = None if field is None or field.is_repeated else field.message_type
        if field is None or (not last and message is None):
            rest = name if position == 0 else ".".join(steps[position:])
            content[rest] = value  # no field has such a name, and none is what a refusal names
            return
        if last:
            _set(content, field, step, value, None if bracketed is None else bracketed[2], name)
            return
        inner = content.setdefault(step, {})
        if not isinstance(inner, dict):
            raise _refused(name, f"stands beside a value of {step!r}; give one of them")
        if message is not None:
            content, descriptor = inner, message


def _set(content: dict[str, Any], field: FieldDescriptor, step: str, value: str, key: str | None, name: str) -> None:
    of_map = map_value(field)
    if of_map is not None:
        if key is None:
            raise _refused(name, f"holds values by name; write {step}[NAME]=VALUE")
        values = content.setdefault(step, {})
        if key in values:
            raise _refused(name, "stands twice in the query; give it once")
        values[key] = _typed(of_map, value)
    elif key is not None:
        raise _refused(name, f"has a name in brackets, and {step!r} holds no values by name")
    elif field.is_repeated:
        content.setdefault(step, []).append(_typed(field, value))
    elif step in content:
        raise _refused(name, "stands twice; give it once")
    else:
        content[step] = _typed(field, value)


def _typed(field: FieldDescriptor, value: str) -> Any:
    """The JSON of a value: the mapping of protobuf takes text for everything but this."""
    return _TRUTHS.get(value, value) if field.type == FieldDescriptor.TYPE_BOOL else value


def _text(value: bytes, name: bytes) -> str:
    try:
        return unquote_to_bytes(value.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise _refused(name.decode("ascii", "replace"), "is not UTF-8") from None


def _refused(name: str, why: str) -> MfnError:
    return MfnError.invalid([FieldViolation(field=shown(name), description=why)])
