"""Why JSON is not a message: the fields at fault, in words of our own.

The library is the judge. It stops at the first fault and tells it in its own words, so each part of what it has
refused is shown to it again, down to the values that it does not take. What it passes over is told beside that.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mfn_core.config import suggest
from mfn_core.errors import FieldViolation
from mfn_proto.strict_json import has_own_form, map_path, misread

__all__ = ["MAX_VIOLATIONS", "REFUSALS", "explained", "misunderstood", "shown"]

REFUSALS = (json_format.Error, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What the library raises for wrong input; it documents the first alone."""

MAX_VIOLATIONS = 20
MAX_DEPTH = 8
"""Messages within messages that are looked into; each level is parsed once more."""
BLOCK = 256
"""Items of an array or a map that are looked at together."""
LONGEST_SHOWN = 64

T = TypeVar("T")

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


def misunderstood(content: Any, message_type: type[Message]) -> list[FieldViolation]:
    """What the library would take for something else than it is."""
    found = itertools.islice(misread(content, message_type), MAX_VIOLATIONS)
    return [
        FieldViolation(field=path, description=f"must be {expected}, not {_given(value)}")
        for path, expected, value in found
    ]


def explained(
    content: Any, message_type: type[Message], *, besides: Sequence[FieldViolation] = ()
) -> list[FieldViolation]:
    """What is wrong with JSON that was refused as a message of the type, and `besides`; empty where that cannot be
    told. A field is named once."""
    found = itertools.chain(besides, _of_message(content, message_type.DESCRIPTOR, "", 0))  # type: ignore[arg-type] # the C twin of it
    by_field: dict[str, FieldViolation] = {}
    for each in found:
        by_field.setdefault(each.field, each)
        if len(by_field) == MAX_VIOLATIONS:
            break
    return list(by_field.values())


def shown(text: str) -> str:
    """A caller's own text, for a message to that caller: not too long, and on one line."""
    cut = text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"
    return "".join(each if each.isprintable() else "�" for each in cut)


def _of_message(content: Any, descriptor: Descriptor, path: str, depth: int) -> Iterator[FieldViolation]:
    if has_own_form(descriptor):
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
        if value is not None:
            yield from _of_field(key, value, field, descriptor, where, depth)


def _of_field(
    key: str, value: Any, field: FieldDescriptor, descriptor: Descriptor, where: str, depth: int
) -> Iterator[FieldViolation]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        if not isinstance(value, dict):
            yield FieldViolation(field=where, description=f"must be a JSON object, not {_given(value)}")
            return
        entry = field.message_type.fields_by_name

        def of_names(names: Sequence[str]) -> bool:
            return _accepted({key: {name: value[name] for name in names}}, descriptor)

        for name in _refused(list(value), of_names):
            at = map_path(where, name)
            if _is_key(name, entry["key"], field.message_type):
                yield from _of_value(value[name], entry["value"], at, depth)
            else:
                text = f"has a key that must be {_expected(entry['key'], name)}, not {_given(name)}"
                yield FieldViolation(field=at, description=text)
    elif field.is_repeated:
        if not isinstance(value, list):
            yield FieldViolation(field=where, description=f"must be a JSON array, not {_given(value)}")
            return

        def of_indices(indices: Sequence[int]) -> bool:
            return _accepted({key: [value[index] for index in indices]}, descriptor)

        for index in _refused(range(len(value)), of_indices):
            yield from _of_value(value[index], field, f"{where}[{index}]", depth)
    elif not _accepted({key: value}, descriptor):
        yield from _of_value(value, field, where, depth)


def _refused(items: Sequence[T], accepted: Callable[[Sequence[T]], bool]) -> Iterator[T]:
    """The items that are at fault. Those that are sound are looked at in blocks, which is no more work than they were
    at first."""
    for begin in range(0, len(items), BLOCK):
        block = items[begin : begin + BLOCK]
        if len(block) == 1 or not accepted(block):
            yield from (each for each in block if not accepted([each]))


def _is_key(name: str, key: FieldDescriptor, entry: Descriptor) -> bool:
    """Whether a map of such entries may have the key."""
    if key.type == FieldDescriptor.TYPE_BOOL:
        return name in ("true", "false")
    return _accepted({key.name: name}, entry)


def _of_value(value: Any, field: FieldDescriptor, where: str, depth: int) -> Iterator[FieldViolation]:
    if field.message_type is not None:
        yield from _of_message(value, field.message_type, where, depth + 1)
    else:
        yield FieldViolation(field=where, description=f"must be {_expected(field, value)}, not {_given(value)}")


def _accepted(content: dict[str, Any], descriptor: Descriptor) -> bool:
    try:
        json_format.ParseDict(content, message_factory.GetMessageClass(descriptor)())
    except REFUSALS:
        return False
    return True


def _expected(field: FieldDescriptor, value: Any) -> str:
    if field.enum_type is not None:
        return f"one of {', '.join(each.name for each in field.enum_type.values)}"
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and isinstance(value, str):
        return "text without lone surrogates"
    return "bytes in base64" if field.type == FieldDescriptor.TYPE_BYTES else _EXPECTED[field.cpp_type]


def _given(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN without quotes" if math.isnan(value) else "a number beyond 1.8e308, or Infinity without quotes"
    return shown(json.dumps(value, ensure_ascii=False))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
