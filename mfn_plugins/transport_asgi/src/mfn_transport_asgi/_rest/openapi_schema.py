"""JSON Schema of protobuf messages: their JSON mapping, the rules of their fields as bounds, comments as descriptions.

https://protobuf.dev/programming-guides/json/ and https://buf.build/docs/protovalidate/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from mfn_proto.customary import CUSTOMARY, EXAMPLES
from mfn_proto.defaults import UNSET
from mfn_transport_asgi._rest.query import map_value

__all__ = ["REFERENCE", "Schemas"]

REFERENCE = "#/components/schemas/"

_NUMBER_WORDS = {"enum": ["NaN", "Infinity", "-Infinity"]}
_WELL_KNOWN: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}},
        "google.protobuf.BoolValue": {"type": "boolean"},
        "google.protobuf.BytesValue": {"type": "string", "contentEncoding": "base64"},
        "google.protobuf.DoubleValue": {"anyOf": [{"type": "number"}, _NUMBER_WORDS]},
        "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
        "google.protobuf.Empty": {"type": "object"},
        "google.protobuf.FieldMask": {"type": "string"},
        "google.protobuf.FloatValue": {"anyOf": [{"type": "number"}, _NUMBER_WORDS]},
        "google.protobuf.Int32Value": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
        "google.protobuf.Int64Value": {"type": ["string", "integer"], "pattern": "^-?[0-9]{1,19}$"},
        "google.protobuf.ListValue": {"type": "array", "items": {}},
        "google.protobuf.StringValue": {"type": "string"},
        "google.protobuf.Struct": {"type": "object"},
        "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
        "google.protobuf.UInt32Value": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
        "google.protobuf.UInt64Value": {"type": ["string", "integer"], "pattern": "^[0-9]{1,20}$"},
        "google.protobuf.Value": {},
    }
)
_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_UNSET = re.compile(r"\s*Unset: \S+\.$")
_LONG = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
_BOUNDS = {"gt": "exclusiveMinimum", "gte": "minimum", "lt": "exclusiveMaximum", "lte": "maximum"}


class Schemas:
    """The schemas of a document. Those of requests are to be asked for first: they are closed, because a field that a
    request's message does not have is refused."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        """Describe everything by `comments`, full name to text."""
        self._comments = comments
        self.components: dict[str, dict[str, Any]] = {}
        """By name."""

    def of_message(self, descriptor: Descriptor, *, closed: bool) -> dict[str, Any]:
        """A reference to the message's schema, or the schema of one that has a form of its own."""
        known = _WELL_KNOWN.get(descriptor.full_name)
        if known is not None:
            return dict(known)
        name = descriptor.full_name
        if name not in self.components:
            schema = self.components[name] = {}  # before its fields: a message may hold itself
            schema.update(self._message(descriptor, closed))
        return {"$ref": REFERENCE + name}

    def of_field(self, field: FieldDescriptor, *, closed: bool) -> dict[str, Any]:
        """The schema of a field, with its description and default."""
        rules = _rules(field)
        value = map_value(field)
        if value is not None:
            schema: dict[str, Any] = {"type": "object", "additionalProperties": self._single(value, None, closed)}
            if rules is not None and rules.map.HasField("max_pairs"):
                schema["maxProperties"] = rules.map.max_pairs
        elif field.is_repeated:
            item_rules = None
            schema = {"type": "array"}
            if rules is not None and rules.WhichOneof("type") == "repeated":
                item_rules = rules.repeated.items if rules.repeated.HasField("items") else None
                for rule, bound in (("min_items", "minItems"), ("max_items", "maxItems")):
                    if rules.repeated.HasField(rule):
                        schema[bound] = getattr(rules.repeated, rule)
            schema["items"] = self._single(field, item_rules, closed)
        else:
            schema = self._single(field, rules, closed)
        default = _default(field)
        if default is not None and closed:
            schema["default"] = default
        comment = self._comments.get(field.full_name, "")
        if "default" in schema:
            comment = _UNSET.sub("", comment)  # what is filled in here may be another value
        if comment:
            schema["description"] = comment
        return schema

    def comment(self, full_name: str) -> str:
        """What the definition says of a name; empty where it says nothing."""
        return self._comments.get(full_name, "")

    def _message(self, descriptor: Descriptor, closed: bool) -> dict[str, Any]:
        properties = {field.name: self.of_field(field, closed=closed) for field in descriptor.fields}
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        if closed:
            schema["additionalProperties"] = False
            # What is filled in need not be sent.
            filled = CUSTOMARY.get(descriptor.full_name, {})
            needed = [field.name for field in descriptor.fields if _required(field) and field.name not in filled]
            if needed:
                schema["required"] = needed
        comment = [self._comments.get(descriptor.full_name, "")]
        for oneof in descriptor.oneofs:
            names = [field.name for field in oneof.fields]
            if len(names) > 1:
                comment.append(f"At most one of {', '.join(names)}.")
                if closed:
                    pairs = [{"required": [a, b]} for i, a in enumerate(names) for b in names[i + 1 :]]
                    schema.setdefault("not", {"anyOf": []})["anyOf"] += pairs
        if text := " ".join(filter(None, comment)):
            schema["description"] = text
        if closed and descriptor.full_name in EXAMPLES:
            schema["examples"] = [dict(EXAMPLES[descriptor.full_name])]
        return schema

    def _enum(self, enum: EnumDescriptor) -> dict[str, Any]:
        name = enum.full_name
        if name not in self.components:
            lines = [self._comments.get(name, "")]
            lines += [f"- `{each.name}`: {self._comments.get(f'{name}.{each.name}', '')}" for each in enum.values]
            self.components[name] = {
                "type": "string",
                "enum": [each.name for each in enum.values],
                "description": "\n".join(filter(None, lines)),
            }
        return {"$ref": REFERENCE + name}

    def _single(self, field: FieldDescriptor, rules: Any, closed: bool) -> dict[str, Any]:
        if field.message_type is not None:
            return self.of_message(field.message_type, closed=closed)
        kind = None if rules is None else rules.WhichOneof("type")
        own = None if kind is None else getattr(rules, kind)
        if field.enum_type is not None:
            if own is not None and getattr(own, "in"):
                names = [field.enum_type.values_by_number[number].name for number in getattr(own, "in")]
                return {"type": "string", "enum": names}
            return self._enum(field.enum_type)
        if field.cpp_type in _INTEGERS:
            return _integer(field, own)
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
                return _number(own)
            case FieldDescriptor.CPPTYPE_BOOL:
                return {"type": "boolean"} if own is None or not own.HasField("const") else {"const": own.const}
        return _bytes(own) if field.type == FieldDescriptor.TYPE_BYTES else _string(own)


def _integer(field: FieldDescriptor, rules: Any) -> dict[str, Any]:
    low, high = _INTEGERS[field.cpp_type]
    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
    schema.update(_bounds(rules))
    if "exclusiveMinimum" in schema:
        del schema["minimum"]
    if "exclusiveMaximum" in schema:
        del schema["maximum"]
    if field.cpp_type in _LONG:
        # Replies write it as text, which keeps every digit; requests may write it either way.
        return {"anyOf": [schema, {"type": "string", "pattern": "^-?[0-9]{1,20}$"}], "format": "int64"}
    return {**schema, "format": "int32"} if field.cpp_type == FieldDescriptor.CPPTYPE_INT32 else schema


def _number(rules: Any) -> dict[str, Any]:
    bounds = _bounds(rules)
    number = {"type": "number", **bounds}
    # A range excludes what is no number.
    finite = rules is not None and (bounds or (rules.HasField("finite") and rules.finite))
    return number if finite else {"anyOf": [number, dict(_NUMBER_WORDS)]}


def _bounds(rules: Any) -> dict[str, Any]:
    if rules is None:
        return {}
    if rules.HasField("const"):
        return {"const": rules.const}
    if getattr(rules, "in"):
        return {"enum": list(getattr(rules, "in"))}
    return {bound: getattr(rules, rule) for rule, bound in _BOUNDS.items() if rules.HasField(rule)}


def _string(rules: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if rules is None:
        return schema
    if rules.HasField("pattern"):
        schema["pattern"] = rules.pattern
    if getattr(rules, "in"):
        schema["enum"] = list(getattr(rules, "in"))
    # A character takes at least one byte, so that neither bound is too narrow.
    for rule, bound in (("min_len", "minLength"), ("max_len", "maxLength"), ("max_bytes", "maxLength")):
        if rules.HasField(rule):
            schema[bound] = getattr(rules, rule)
    if rules.HasField("min_bytes") and rules.min_bytes:
        schema["minLength"] = 1
    return schema


def _bytes(rules: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "contentEncoding": "base64"}
    if rules is not None and rules.HasField("max_len"):
        schema["maxLength"] = -(-rules.max_len // 3) * 4
    if rules is not None and rules.HasField("min_len") and rules.min_len:
        schema["minLength"] = 2
    return schema


def _rules(field: FieldDescriptor) -> Any:
    """The rules that a definition states of a field; None where it states none."""
    try:
        extension = descriptor_pool.Default().FindExtensionByName("buf.validate.field")
    except KeyError:
        return None
    options: Any = field.GetOptions()
    return options.Extensions[extension] if options.HasExtension(extension) else None


def _required(field: FieldDescriptor) -> bool:
    rules = _rules(field)
    return rules is not None and bool(rules.required)


def _default(field: FieldDescriptor) -> Any:
    """What is meant where the field is left out; None where that is nothing."""
    owner = "" if field.containing_type is None else field.containing_type.full_name
    customary = CUSTOMARY.get(owner, {}).get(field.name)
    return UNSET.get(owner, {}).get(field.name) if customary is None else customary
