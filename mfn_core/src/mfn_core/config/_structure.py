"""The hooks that decode each type of value, and refuse what does not fit."""

from __future__ import annotations

import datetime
import enum
import types
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs
from cattrs import Converter

from mfn_core.config._problems import Problem, suggest
from mfn_core.config._rejection import Rejected, at_index, at_key, described, given, refuse, wrong_type
from mfn_core.config._secret import Secret
from mfn_core.config._secret_source import read_secret
from mfn_core.config._setting import HELP, default_of

__all__ = ["make_converter"]

Hook = Callable[[Any, Any], Any]

_ARRAYS: Mapping[Any, Callable[[list[Any]], Any]] = {
    list: list,
    Sequence: tuple,
    MutableSequence: list,
    frozenset: frozenset,
    set: set,
    AbstractSet: frozenset,
}


def make_converter(base_dir: Path) -> Converter:
    """A converter whose hooks raise `Rejected`, and resolve paths from `base_dir`."""
    converter = Converter(detailed_validation=False)

    def register(applies: Callable[[Any], bool], factory: Callable[[Any], Hook]) -> None:
        converter.register_structure_hook_factory(applies, factory)

    # Later registrations are asked first.
    register(attrs.has, lambda kind: _attrs_hook(kind, converter, base_dir))
    register(lambda kind: isinstance(kind, type) and issubclass(kind, enum.Enum), lambda _: _enum)
    register(lambda kind: (get_origin(kind) or kind) in _ARRAYS, lambda kind: _array_hook(kind, converter))
    register(lambda kind: (get_origin(kind) or kind) is tuple, lambda kind: _tuple_hook(kind, converter))
    register(
        lambda kind: (get_origin(kind) or kind) in (dict, Mapping, MutableMapping),
        lambda kind: _mapping_hook(kind, converter),
    )
    register(lambda kind: get_origin(kind) in (Union, types.UnionType), lambda kind: _union_hook(kind, converter))
    register(lambda kind: get_origin(kind) is Literal, lambda _: _literal)
    for scalar, hook in _SCALARS.items():
        converter.register_structure_hook(scalar, hook)
    converter.register_structure_hook(Path, lambda value, _: _path(value, base_dir))
    converter.register_structure_hook(Secret, lambda value, _: read_secret(value, partial(_path, base_dir=base_dir)))
    return converter


# Scalars.


def _boolean(value: Any, _: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong_type("a boolean", value, "write true or false")
    return value


def _integer(value: Any, _: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type("an integer", value)
    return value


def _number(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type("a number", value)
    try:
        return float(value)
    except OverflowError:
        raise refuse("the integer is too large for a number") from None


def _string(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise wrong_type("a string", value)
    return value


def _temporal(value: Any, kind: type[Any]) -> Any:
    # A date-time is a date to isinstance, and not to TOML.
    if type(value) is not kind:
        raise wrong_type(described(kind), value)
    return value


_SCALARS: Mapping[Any, Hook] = {
    bool: _boolean,
    int: _integer,
    float: _number,
    str: _string,
    datetime.datetime: _temporal,
    datetime.date: _temporal,
    datetime.time: _temporal,
}


def _enum(value: Any, kind: type[enum.Enum]) -> enum.Enum:
    for member in kind:
        if member.value == value and type(member.value) is type(value):
            return member
    choices = [member.value for member in kind]
    raise refuse(f"cannot be {given(value)}", suggest(str(value), map(str, choices)))


def _literal(value: Any, kind: Any) -> Any:
    choices = get_args(kind)
    for choice in choices:
        if choice == value and type(choice) is type(value):
            return choice
    raise refuse(f"cannot be {given(value)}", suggest(str(value), map(str, choices)))


def _path(value: Any, base_dir: Path) -> Path:
    if not isinstance(value, str):
        raise wrong_type("a path in a string", value)
    if not value or "\0" in value:
        raise refuse(f"{value!r} is no path")
    try:
        return base_dir / Path(value).expanduser()
    except RuntimeError as unknown:
        raise refuse(f"{given(value)} cannot be resolved: {unknown}", "write the whole path") from unknown


# Collections.


def _items(value: Any, kinds: Sequence[Any], converter: Converter) -> list[Any]:
    items = []
    problems: list[Problem] = []
    for index, (item, kind) in enumerate(zip(value, kinds, strict=True)):
        try:
            items.append(converter.structure(item, kind))
        except Rejected as rejected:
            problems += at_index(index, rejected.problems)
    if problems:
        raise Rejected(problems)
    return items


def _array_hook(kind: Any, converter: Converter) -> Hook:
    (member,) = get_args(kind) or (Any,)
    make = _ARRAYS[get_origin(kind) or kind]

    def array(value: Any, _: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise wrong_type("an array", value)
        return make(_items(value, [member] * len(value), converter))

    return array


def _tuple_hook(kind: Any, converter: Converter) -> Hook:
    members = get_args(kind) or (Any, ...)
    open_ended = len(members) == 2 and members[1] is Ellipsis

    def array(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise wrong_type("an array", value)
        if not open_ended and len(value) != len(members):
            raise refuse(f"expected an array of {len(members)} items, got {len(value)}")
        return tuple(_items(value, [members[0]] * len(value) if open_ended else members, converter))

    return array


def _mapping_hook(kind: Any, converter: Converter) -> Hook:
    _, member = get_args(kind) or (str, Any)

    def table(value: Any, _: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise wrong_type("a table", value)
        decoded = {}
        problems: list[Problem] = []
        for key, item in value.items():
            try:
                decoded[key] = converter.structure(item, member)
            except Rejected as rejected:
                problems += at_key(key, rejected.problems)
        if problems:
            raise Rejected(problems)
        return decoded

    return table


def _union_hook(kind: Any, converter: Converter) -> Hook:
    # TOML has no null: an optional setting is unset by leaving it out.
    members = [member for member in get_args(kind) if member is not type(None)]
    # A number would take an integer, a path or a secret would take a string: the exact one is asked first.
    members.sort(key=lambda member: member not in (bool, int, str))

    def union(value: Any, _: Any) -> Any:
        if len(members) == 1:
            return converter.structure(value, members[0])
        rejections = []
        for member in members:
            try:
                return converter.structure(value, member)
            except Rejected as rejected:
                rejections.append(rejected)
        if isinstance(value, Mapping):
            tables = [r for r, member in zip(rejections, members, strict=True) if attrs.has(member)]
            if len(tables) == 1:
                raise tables[0]
        raise refuse("fits none of its forms: " + "; or ".join(p.message for r in rejections for p in r.problems))

    return union


# Tables with known keys.


def _attrs_hook(cls: type[Any], converter: Converter, base_dir: Path) -> Hook:
    attrs.resolve_types(cls)
    attributes = {a.alias or a.name: a for a in attrs.fields(cls) if a.init}

    def table(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise wrong_type("a table", value)
        problems: list[Problem] = []
        for key in value:
            if key not in attributes:
                remedy = suggest(key, attributes) or "there are no settings here"
                problems += at_key(key, [Problem(path="", message="unknown setting", remedy=remedy)])
        values: dict[str, Any] = {}
        for key, attribute in attributes.items():
            if key in value:
                try:
                    values[key] = converter.structure(value[key], attribute.type or Any)
                except Rejected as rejected:
                    problems += at_key(key, rejected.problems)
            elif attribute.default is attrs.NOTHING:
                missing = Problem(path="", message="is required", remedy=attribute.metadata.get(HELP, ""))
                problems += at_key(key, [missing])
            elif isinstance(attribute.default, Path):
                values[key] = base_dir / attribute.default.expanduser()
        refused = {key for key in attributes if key in value and key not in values}
        return _construct(cls, values, refused, problems)

    return table


def _construct(cls: type[Any], values: Mapping[str, Any], refused: AbstractSet[str], problems: list[Problem]) -> Any:
    """Make the instance; where that is not to be, say what every validator has against its value.

    `refused` are the keys whose values did not decode: their defaults do not stand in for them.
    """
    complete = not problems
    whole: Problem | None = None
    if complete:
        try:
            return cls(**values)
        except (ValueError, TypeError, OSError) as wrong:
            whole = Problem(path="", message=_text(wrong, ""))
    # attrs stops at the first validator that fails, so each is asked by itself, on an instance made by hand.
    bare = object.__new__(cls)
    for attribute in attrs.fields(cls):
        key = attribute.alias or attribute.name
        default = default_of(attribute)
        if key in values:
            object.__setattr__(bare, attribute.name, values[key])
        elif default is not attrs.NOTHING and key not in refused:
            object.__setattr__(bare, attribute.name, default)
    found: list[Problem] = []
    for attribute in attrs.fields(cls):
        key = attribute.alias or attribute.name
        # With a converter of its own the validator expects what the converter makes: only the constructor has that.
        if key not in values or attribute.validator is None or attribute.converter is not None:
            continue
        try:
            attribute.validator(bare, attribute, values[key])
        except (ValueError, TypeError, OSError) as wrong:
            found += at_key(key, [Problem(path="", message=_text(wrong, attribute.name))])
        except AttributeError:
            # It looks at another setting, which is not there because that one has a problem of its own.
            if complete:
                raise
    problems += found
    if whole is not None and not found:
        problems.append(whole)
    raise Rejected(problems)


def _text(wrong: Exception, name: str) -> str:
    """The message of a validator, without the setting's name at its beginning: the path says it."""
    text = wrong.args[0] if wrong.args and isinstance(wrong.args[0], str) else str(wrong)
    for prefix in (f"{name} ", f"'{name}' "):
        if name and text.startswith(prefix):
            return text[len(prefix) :]
    return text
