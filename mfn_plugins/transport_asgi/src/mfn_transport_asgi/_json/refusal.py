"""Why JSON is not a message: the fields at fault, in words of our own.

The library is the judge. It stops at the first fault and tells it in its own words, so each part of what it has
refused is shown to it again, down to the values that it does not take.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mfn_core.config import suggest
from mfn_core.errors import FieldViolation

__all__ = ["REFUSALS", "explained", "shown"]

REFUSALS = (json_format.Error, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What the library raises for wrong input; it documents the first alone."""

MAX_VIOLATIONS = 20
MAX_DEPTH = 8
"""Messages within messages that are looked into; each level is parsed once more."""
LONGEST_SHOWN = 64

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: "an integer from -2^31 to 2^31 - 1",
    FieldDescriptor.CPPTYPE_INT64: "an integer from -2^63 to 2^63 - 1",
    FieldDescriptor.CPPTYPE_UINT32: "an integer from 0 to 2^32 - 1",
    FieldDescriptor.CPPTYPE_UINT64: "an integer from 0 to 2^64 - 1",
}
_EXPECTED = {
    **_INTEGERS,
    FieldDescriptor.CPPTYPE_FLOAT: 'a number of single precision, or "NaN", "Infinity" or "-Infinity"',
    FieldDescriptor.CPPTYPE_DOUBLE: 'a number, or "NaN", "Infinity" or "-Infinity"',
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_STRING: "text",
}


def explained(content: Any, message_type: type[Message]) -> list[FieldViolation]:
    """What is wrong with JSON that was refused as a message of the type; empty where that cannot be told."""
    found = _of_message(content, message_type.DESCRIPTOR, "", 0)  # type: ignore[arg-type] # the C twin of it
    return list(itertools.islice(found, MAX_VIOLATIONS))


def shown(text: str) -> str:
    """A caller's own text, for a message to that caller: not too long, and on one line."""
    cut = text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"
    return "".join(each if each.isprintable() else "�" for each in cut)


def _of_message(content: Any, descriptor: Descriptor, path: str, depth: int) -> Iterator[FieldViolation]:
    if descriptor.full_name.startswith("google.protobuf."):  # these have forms of their own
        yield FieldViolation(field=path, description=f"{_given(content)} is not the JSON of a {descriptor.full_name}")
        return
    if not isinstance(content, dict):
        yield FieldViolation(field=path, description=f"must be a JSON object, not {_given(content)}")
        return
    if depth == MAX_DEPTH:
        yield FieldViolation(field=path, description=f"is not the JSON of a {descriptor.full_name}")
        return
    by_json_name = {field.json_name: field for field in descriptor.fields}
    given: dict[str, str] = {}
    for key, value in content.items():
        field = by_json_name.get(key) or descriptor.fields_by_name.get(key)
        if field is None:
            known = suggest(key, [each.name for each in descriptor.fields])
            text = f"{descriptor.full_name} has no such field; {known or 'it has none at all'}"
            yield FieldViolation(field=_joined(path, shown(key)), description=text)
            continue
        where = _joined(path, field.name)
        # The two names of one field, or two members of one choice.
        group = field.name if field.containing_oneof is None else f"oneof {field.containing_oneof.name}"
        if value is not None and (other := given.setdefault(group, key)) != key:
            yield FieldViolation(field=where, description=f"stands beside {other!r}; give one of them")
        if not _accepted({key: value}, descriptor):
            yield from _of_field(key, value, field, descriptor, where, depth)


def _of_field(
    key: str, value: Any, field: FieldDescriptor, descriptor: Descriptor, where: str, depth: int
) -> Iterator[FieldViolation]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        if not isinstance(value, dict):
            yield FieldViolation(field=where, description=f"must be a JSON object, not {_given(value)}")
            return
        inner = field.message_type.fields_by_name["value"]
        for name, each in value.items():
            if not _accepted({key: {name: each}}, descriptor):
                yield from _of_value(each, inner, f"{where}[{json.dumps(shown(name), ensure_ascii=False)}]", depth)
    elif field.is_repeated:
        if not isinstance(value, list):
            yield FieldViolation(field=where, description=f"must be a JSON array, not {_given(value)}")
            return
        for index in _refused_items(key, value, descriptor, 0):
            yield from _of_value(value[index], field, f"{where}[{index}]", depth)
    else:
        yield from _of_value(value, field, where, depth)


def _refused_items(key: str, items: Sequence[Any], descriptor: Descriptor, begin: int) -> Iterator[int]:
    """The indices of items that are at fault; halves that are sound are looked at once."""
    if _accepted({key: list(items)}, descriptor):
        return
    if len(items) == 1:
        yield begin
        return
    middle = len(items) // 2
    yield from _refused_items(key, items[:middle], descriptor, begin)
    yield from _refused_items(key, items[middle:], descriptor, begin + middle)


def _of_value(value: Any, field: FieldDescriptor, where: str, depth: int) -> Iterator[FieldViolation]:
    if field.message_type is not None:
        yield from _of_message(value, field.message_type, where, depth + 1)
    else:
        yield FieldViolation(field=where, description=f"must be {_expected(field)}, not {_given(value)}")


def _accepted(content: dict[str, Any], descriptor: Descriptor) -> bool:
    try:
        json_format.ParseDict(content, message_factory.GetMessageClass(descriptor)())
    except REFUSALS:
        return False
    return True


def _expected(field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        return f"one of {', '.join(each.name for each in field.enum_type.values)}"
    return "bytes in base64" if field.type == FieldDescriptor.TYPE_BYTES else _EXPECTED[field.cpp_type]


def _given(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    return shown(json.dumps(value, ensure_ascii=False))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
