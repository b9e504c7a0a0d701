"""JSON Schema of a configuration class, for editors and for documentation."""

from __future__ import annotations

import datetime
import enum
import types
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from mfn_core.config._plain import plain
from mfn_core.config._secret import Secret
from mfn_core.config._setting import HELP, UNIT, default_of

__all__ = ["json_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_SCALARS: Mapping[Any, Mapping[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Path: {"type": "string", "format": "path", "minLength": 1},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.time: {"type": "string", "format": "time"},
    Any: {},
    object: {},
    Secret: {
        "oneOf": [
            {"type": "string", "minLength": 1},
            *(
                {
                    "type": "object",
                    "properties": {key: {"type": "string", "minLength": 1}},
                    "required": [key],
                    "additionalProperties": False,
                }
                for key in ("file", "env")
            ),
        ],
        "writeOnly": True,
    },
}

_COMPARISONS = {">": "exclusiveMinimum", ">=": "minimum", "<": "exclusiveMaximum", "<=": "maximum"}


def json_schema(cls: type[Any]) -> dict[str, Any]:
    """JSON Schema 2020-12 of an attrs class: types, defaults, bounds, and the help of every setting.

    Raises:
        TypeError: an attribute has a type that a configuration cannot hold.
    """
    return {"$schema": DIALECT, **_table(cls)}


def _table(cls: type[Any]) -> dict[str, Any]:
    attrs.resolve_types(cls)
    schema: dict[str, Any] = {"title": cls.__name__, "type": "object"}
    if summary := _first_line(cls):
        schema["description"] = summary
    properties: dict[str, Any] = {}
    required = []
    for attribute in attrs.fields(cls):
        if not attribute.init:
            continue
        key = attribute.alias or attribute.name
        properties[key] = _property(cls, attribute)
        if attribute.default is attrs.NOTHING:
            required.append(key)
    schema["properties"] = properties
    if required:
        schema["required"] = required
    schema["additionalProperties"] = False
    return schema


def _first_line(cls: type[Any]) -> str:
    # attrs writes no docstring of its own; inherited ones describe another class.
    text = cls.__dict__.get("__doc__") or ""
    return text.strip().partition("\n")[0]


def _property(cls: type[Any], attribute: attrs.Attribute[Any]) -> dict[str, Any]:
    try:
        schema = dict(_type(attribute.type))
    except TypeError as wrong:
        raise TypeError(f"{cls.__qualname__}.{attribute.name}: {wrong}") from wrong
    _merge(schema, _bounds(attribute.validator))
    _drop_irrelevant(schema)
    if HELP in attribute.metadata:
        schema["description"] = attribute.metadata[HELP]
    if UNIT in attribute.metadata:
        schema["x-unit"] = attribute.metadata[UNIT]
    default = default_of(attribute)
    if default is not attrs.NOTHING and default is not None and not isinstance(default, Secret):
        schema["default"] = plain(default)
    return schema


def _type(kind: Any) -> Mapping[str, Any]:
    if kind in _SCALARS:
        return _SCALARS[kind]
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        members = [_type(member) for member in arguments if member is not type(None)]
        return members[0] if len(members) == 1 else {"anyOf": members}
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return {
            "type": "array",
            "prefixItems": [dict(_type(member)) for member in arguments],
            "minItems": len(arguments),
            "maxItems": len(arguments),
        }
    if origin in (tuple, list, Sequence, MutableSequence, frozenset, set, AbstractSet):
        return {"type": "array", "items": dict(_type(arguments[0] if arguments else Any))}
    if origin in (dict, Mapping, MutableMapping):
        return {"type": "object", "additionalProperties": dict(_type(arguments[1] if arguments else Any))}
    if isinstance(origin, type) and issubclass(origin, enum.Enum):
        return {"enum": [member.value for member in origin]}
    if isinstance(origin, type) and attrs.has(origin):
        return _table(origin)
    raise TypeError(f"a configuration cannot hold {kind!r}")


def _bounds(validator: Any) -> dict[str, Any]:
    """What a validator says of itself: ours by `schema()`, those of attrs by what they keep."""
    if validator is None:
        return {}
    if callable(describe := getattr(validator, "schema", None)):
        keywords: dict[str, Any] = describe()
        return keywords
    found: dict[str, Any] = {}
    for inner in getattr(validator, "_validators", ()):  # attrs.validators.and_
        _merge(found, _bounds(inner))
    if (operator := getattr(validator, "compare_op", None)) in _COMPARISONS:
        found[_COMPARISONS[operator]] = validator.bound
    if (options := getattr(validator, "options", None)) is not None:
        found["enum"] = list(options)
    if (member := getattr(validator, "member_validator", None)) is not None:
        found["items"] = _bounds(member)
    if (inner := getattr(validator, "validator", None)) is not None:  # attrs.validators.optional
        _merge(found, _bounds(inner))
    return found


def _drop_irrelevant(schema: dict[str, Any]) -> None:
    """A validator knows no type: leave out what it says of texts about an array, and the other way round."""
    schema.pop("minLength" if schema.get("type") == "array" else "minItems", None)
    if isinstance(items := schema.get("items"), dict):
        _drop_irrelevant(items)


def _merge(schema: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(schema.get(key), Mapping):
            inner = dict(schema[key])
            _merge(inner, value)
            schema[key] = inner
        else:
            schema[key] = value
