"""What `google.protobuf.json_format` takes and the JSON mapping of protobuf does not.

https://protobuf.dev/programming-guides/json/. The library passes over what is no base64 in bytes, and takes an empty
array or text for an empty message. Either is a mistake of who sends it, and would be another request than was meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

__all__ = ["has_own_form", "is_base64", "map_path", "misread", "values_of_map"]

MAX_DEPTH = 100
"""Messages within messages, as the library takes them."""
LONGEST_KEY = 64
"""Characters of a key that a path shows."""

_ANY_SHAPE = frozenset({"Any", "Duration", "FieldMask", "ListValue", "Struct", "Timestamp", "Value"})
_WRAPPERS = frozenset(
    f"{kind}Value" for kind in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
)
_OWN_FORMS = frozenset(f"google.protobuf.{name}" for name in _ANY_SHAPE | _WRAPPERS)

_COMMON = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ALPHABETS = (_COMMON + b"+/", _COMMON + b"-_")


def misread(content: Any, message_type: type[Message]) -> Iterator[tuple[str, str, Any]]:
    """Where JSON is not what the library would read it as.

    Args:
        content: JSON, as `json.loads` makes it.
        message_type: what the library reads it as.

    Yields:
        Path of a field, in the names of its definition and empty for the message itself; what must be there, "bytes in
        base64" or "a JSON object"; and what is there. What the library refuses by itself may be left out.
    """
    yield from _in_message(content, cast("Descriptor", message_type.DESCRIPTOR), "", MAX_DEPTH)


def is_base64(text: str) -> bool:
    """Whether it is base64, of either alphabet, with its padding or without any."""
    if not text.isascii():
        return False
    raw = text.encode()
    bare = raw.rstrip(b"=")
    if len(bare) % 4 == 1 or len(raw) - len(bare) not in (0, -len(bare) % 4):
        return False
    return any(not bare.translate(None, alphabet) for alphabet in _ALPHABETS)


def has_own_form(descriptor: Descriptor) -> bool:
    """Whether the JSON of a message is another than an object of its fields."""
    return descriptor.full_name in _OWN_FORMS


def map_path(path: str, key: str) -> str:
    """Path of the value that a map at `path` has under a key; shows of the key what fits on a line."""
    cut = key if len(key) <= LONGEST_KEY else key[:LONGEST_KEY] + "…"
    return f"{path}[{''.join(each if each.isprintable() else '�' for each in cut)}]"


def _in_message(content: Any, descriptor: Descriptor, path: str, left: int) -> Iterator[tuple[str, str, Any]]:
    if has_own_form(descriptor):
        if descriptor.full_name == "google.protobuf.BytesValue":
            yield from _in_bytes(content, path)
    elif not isinstance(content, dict):
        yield path, "a JSON object", content
    elif left:
        for field in _worth_a_look(descriptor):
            for name in {field.json_name, field.name}:
                value = content.get(name)
                if value is not None:
                    yield from _in_field(value, field, f"{path}.{field.name}" if path else field.name, left)


def _in_field(value: Any, field: FieldDescriptor, path: str, left: int) -> Iterator[tuple[str, str, Any]]:
    of_values = values_of_map(field)
    if of_values is not None:
        for key, each in value.items() if isinstance(value, dict) else ():
            yield from _in_value(each, of_values, map_path(path, key), left)
    elif field.is_repeated:
        for index, each in enumerate(value) if isinstance(value, list) else ():
            yield from _in_value(each, field, f"{path}[{index}]", left)
    else:
        yield from _in_value(value, field, path, left)


def _in_value(value: Any, field: FieldDescriptor, path: str, left: int) -> Iterator[tuple[str, str, Any]]:
    if field.message_type is None:
        yield from _in_bytes(value, path)
    else:
        yield from _in_message(value, field.message_type, path, left - 1)


def _in_bytes(value: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, str) and not is_base64(value):
        yield path, "bytes in base64", value


def values_of_map(field: FieldDescriptor) -> FieldDescriptor | None:
    """The values' field where `field` is a map."""
    entry = field.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return None
    found: FieldDescriptor = entry.fields_by_name["value"]
    return found


@cache
def _worth_a_look(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    """The fields that hold messages or bytes; most requests have none."""
    values = ((field, values_of_map(field) or field) for field in descriptor.fields)
    return tuple(
        field for field, held in values if held.message_type is not None or held.type == FieldDescriptor.TYPE_BYTES
    )
