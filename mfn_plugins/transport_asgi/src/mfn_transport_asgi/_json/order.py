"""The order of the keys of a map in JSON.

The library writes a map in the order of its hash table, which is another one in every process: two workers would give
two texts for one message, and two tags to whoever compares texts.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mfn_proto.strict_json import values_of_map

__all__ = ["sort_maps"]

JSON_TYPES = frozenset(f"google.protobuf.{name}" for name in ("ListValue", "Struct", "Value"))
"""Messages that stand for any JSON and are written as it."""


def sort_maps(content: Any, message_type: type[Message]) -> None:
    """Bring the keys of all maps within `content`, the JSON of a `message_type`, into their order."""
    _sort_message(content, cast("Descriptor", message_type.DESCRIPTOR))


def _sort_message(content: Any, descriptor: Descriptor) -> None:
    if descriptor.full_name in JSON_TYPES:
        _sort_all(content)
    elif isinstance(content, dict):  # else a message with a form of its own, such as a Timestamp
        for field in _leading_to_maps(descriptor):
            # A field stands under one of its two names.
            value = content.get(field.json_name, content.get(field.name))
            if value:
                _sort_field(value, field)


def _sort_field(value: Any, field: FieldDescriptor) -> None:
    of_values = values_of_map(field)
    if of_values is None:
        for each in value if field.is_repeated else [value]:
            _sort_message(each, cast("Descriptor", field.message_type))
        return
    _sort(value)
    if of_values.message_type is not None:
        for each in value.values():
            _sort_message(each, of_values.message_type)


def _sort_all(content: Any) -> None:
    """Sort objects at any depth: within a Struct all are maps."""
    if isinstance(content, dict):
        _sort(content)
    for each in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        _sort_all(each)


def _sort(content: dict[str, Any]) -> None:
    for key in sorted(content):
        content[key] = content.pop(key)


@cache
def _leading_to_maps(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    """The fields of a message that are maps or have maps somewhere within."""
    return tuple(field for field in descriptor.fields if _has_map(field, set()))


def _has_map(field: FieldDescriptor, seen: set[str]) -> bool:
    held = field.message_type
    if held is None or held.full_name in seen:  # a message may hold one of its own type
        return False
    seen.add(held.full_name)
    if values_of_map(field) is not None or held.full_name in JSON_TYPES:
        return True
    return any(_has_map(each, seen) for each in held.fields)
