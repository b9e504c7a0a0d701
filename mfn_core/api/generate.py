"""List the plugin API as the code has it, or accept what was added to it.

    python generate.py            prints it
    python generate.py --write    writes v1.txt; refuses where something was removed or changed

One line tells one thing: a class, one of its members, a function. What stands before the colon names it. A line's text
depends on the code alone, not on the version of Python.
"""

from __future__ import annotations

import argparse
import ast
import enum
import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

sys.path.insert(0, str(Path(__file__).parent))

from _changes import breaks
from _public import GIVEN, MODULES, PARTS

from mfn_core import hookspecs

__all__ = ["LISTING", "listed", "main", "surface"]

LISTING = Path(__file__).with_name(f"{hookspecs.ENTRY_POINT_GROUP.rpartition('.')[2]}.txt")

_OPERATORS = frozenset({"__call__", "__iter__", "__len__", "__enter__", "__exit__", "__aenter__", "__aexit__"})
"""Methods that Python calls, which are public all the same."""

_HEAD = f"""\
# The plugin API: what a plugin of the group {hookspecs.ENTRY_POINT_GROUP} may use of mfn_core.
#
# Written by `make accept-api`, compared with the code by tests/architecture/test_api.py. A line may be added. None may
# be removed or changed before the next major version: docs/adr/0027-plugin-api-v1.md. Public modules and names are
# chosen in _public.py. What is not here may change at any time, even where it has no underscore.
#
# given: the kernel makes it, a plugin reads it.   protocol: a plugin implements it, or calls what another implements.
"""


def surface(
    modules: Mapping[str, Sequence[str]] = MODULES,
    *,
    parts: Mapping[str, Sequence[str]] = PARTS,
    given: frozenset[str] = GIVEN,
) -> list[str]:
    """The lines of the plugin API, in the order of their names.

    Raises:
        AttributeError: a name that is called public does not exist.
    """
    public = {
        f"{module}.{name}": getattr(importlib.import_module(module), name)
        for module, names in modules.items()
        for name in names or importlib.import_module(module).__all__
    }
    lines = list(_hooks()) if hookspecs.__name__ in modules else []
    for path, value in public.items():
        module, _, name = path.rpartition(".")
        # What several modules offer is described once, in the one that stands deepest.
        home = max((each for each in public if public[each] is value and each.endswith(f".{name}")), key=len)
        if home != path:
            lines.append(f"{path}: as {home}")
        else:
            lines += _named(path, importlib.import_module(module), name, value, parts, given)
    return sorted(lines, key=lambda line: line.partition(": ")[0])


def listed(text: str) -> list[str]:
    """The lines of a written list, without its head."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _named(
    path: str, module: ModuleType, name: str, value: Any, parts: Mapping[str, Sequence[str]], given: frozenset[str]
) -> Iterator[str]:
    """The lines of one public name."""
    if inspect.isclass(value) and _is_ours(value.__module__):
        members = _class(value, made=path not in given)
        if path in parts:
            if missing := set(parts[path]) - set(members):
                raise AttributeError(f"{path} has no {sorted(missing)}")
            members = {member: members[member] for member in parts[path]}
        yield f"{path}: {'given ' if path in given else ''}{_kind(value)}"
        yield from (f"{path}{'' if member == '()' else '.'}{member}: {line}" for member, line in members.items())
    elif inspect.isroutine(value) and _is_ours(value.__module__):
        yield f"{path}: {_signature(value)}"
    else:
        yield f"{path}: {_constant(module, name, value)}"


def _hooks() -> Iterator[str]:
    for name, function in vars(hookspecs).items():
        if name.startswith("mfn_"):
            yield f"{hookspecs.__name__}.{name}: hook {_signature(function)}"


# Classes.


def _kind(cls: type[Any]) -> str:
    if issubclass(cls, enum.Enum):
        return "enum"
    if getattr(cls, "_is_protocol", False):
        return "protocol"
    if attrs.has(cls):
        return "value"
    bases = [base.__name__ for base in cls.__mro__[1:] if issubclass(base, Exception) and base is not Exception]
    return f"error {bases[0]}" if bases else "error" if issubclass(cls, Exception) else "class"


def _class(cls: type[Any], *, made: bool) -> dict[str, str]:
    """The public members of a class, inherited ones of ours included."""
    members: dict[str, str] = {}
    own = [base for base in reversed(cls.__mro__) if _is_ours(base.__module__)]
    for base in own:
        for name, annotation in vars(base).get("__annotations__", {}).items():
            if _is_public(name) and not attrs.has(base):
                default = f" = {_value(vars(base)[name])}" if name in vars(base) else ""
                members[name] = f"{annotation}{default}"
        for name, value in vars(base).items():
            annotated = name in vars(base).get("__annotations__", {})
            if (_is_public(name) or name in _OPERATORS) and not annotated and (line := _member(value)) is not None:
                members[name] = line
        if not attrs.has(base):
            members.update(_attributes(base, members))
    if issubclass(cls, enum.Enum):
        members.update({each.name: f"= {each.value!r}" for each in cls})
        return members
    if attrs.has(cls):
        members.update(_fields(cls, made=made))
        return members
    if made and not getattr(cls, "_is_protocol", False) and any("__init__" in vars(base) for base in own):
        members["()"] = _signature(cls.__init__)
    return members


def _fields(cls: type[Any], *, made: bool) -> Iterator[tuple[str, str]]:
    """The fields of an attrs class; how one is given matters where plugins make the value."""
    # As they are written: decoding a configuration resolves what the fields themselves hold.
    types = {name: text for base in reversed(cls.__mro__) for name, text in inspect.get_annotations(base).items()}
    for attribute in attrs.fields(cls):
        written = types[attribute.name]
        if not attribute.init or not made:
            yield attribute.name, f"{written}"
        elif attribute.default is attrs.NOTHING:
            yield attribute.name, f"required {written}"
        elif type(attribute.default).__name__ == "Factory":
            yield attribute.name, f"{written} = {_value(attribute.default.factory)}()"
        else:
            yield attribute.name, f"{written} = {_value(attribute.default)}"


def _member(value: Any) -> str | None:
    """A method, property or fixture; None for anything else, such as the descriptor of a slot."""
    if isinstance(value, property):
        return f"property {inspect.get_annotations(value.fget)['return']}" if value.fget is not None else None
    if isinstance(value, classmethod | staticmethod):
        return f"{type(value).__name__} {_signature(value.__func__)}"
    if inspect.isfunction(value):
        return _signature(value)
    if type(value).__name__ == "FixtureFunctionDefinition":
        return f"fixture {_signature(inspect.unwrap(value._get_wrapped_function()))}"
    return None


def _attributes(cls: type[Any], known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What `__init__` makes of public attributes, with their types as far as its source tells."""
    function = vars(cls).get("__init__")
    if not inspect.isfunction(function):
        return
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    for each in ast.walk(node):
        target = (
            each.target
            if isinstance(each, ast.AnnAssign)
            else each.targets[0]
            if isinstance(each, ast.Assign)
            else None
        )
        if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name) or target.value.id != "self":
            continue
        if not _is_public(target.attr) or target.attr in known:
            continue
        if isinstance(each, ast.AnnAssign):
            yield target.attr, ast.unparse(each.annotation)
        elif isinstance(each, ast.Assign):
            yield target.attr, _type_of(each.value, inspect.get_annotations(function))


def _type_of(value: ast.expr, parameters: Mapping[str, str]) -> str:
    match value:
        case ast.Name(id=name) if name in parameters:
            return parameters[name]
        case ast.Constant(value=constant):
            return type(constant).__name__
        case ast.Call(func=ast.Name(id=name)) if name in ("dict", "tuple") or name[0].isupper():
            return name
    return "attribute"


# Functions and values.


def _signature(function: Any) -> str:
    """`async (a: int, *, b: str = '') -> None`, annotations as they are written."""
    signature = inspect.signature(function)
    shown: list[str] = []
    star = False
    for index, parameter in enumerate(signature.parameters.values()):
        if index == 0 and parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            shown.append("*")
        star = star or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        prefix = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(parameter.kind.name, "")
        annotation = "" if parameter.annotation is parameter.empty else f": {_annotation(parameter.annotation)}"
        default = "" if parameter.default is parameter.empty else f" = {_value(parameter.default)}"
        shown.append(f"{prefix}{parameter.name}{annotation}{default}")
    returned = signature.return_annotation
    result = "" if returned is signature.empty else f" -> {_annotation(returned)}"
    return f"{'async ' if inspect.iscoroutinefunction(function) else ''}({', '.join(shown)}){result}"


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else _value(annotation)


def _value(value: Any) -> str:
    """A default as Python writes it; `...` for what has no short form that is the same everywhere."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if value == sys.executable:
        return "sys.executable"
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return repr(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_value, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list | dict | set | frozenset) and not value:
        return {"list": "[]", "dict": "{}"}.get(type(value).__name__, f"{type(value).__name__}()")
    if inspect.isclass(value) or inspect.isfunction(value):
        return str(value.__qualname__) if "<" not in value.__qualname__ else "..."
    return "..."


def _constant(module: ModuleType, name: str, value: Any) -> str:
    """A constant with its value where that is short, or a name for a type as it is written."""
    if isinstance(value, str | int | float | tuple):
        return f"= {_value(value)}"
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return ast.unparse(node.annotation)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return f"= {ast.unparse(node.value)}"
    return "value" if type(value).__name__.startswith("_") else type(value).__name__


def _is_public(name: str) -> bool:
    return not name.startswith(("_", "test_")) and name != "pytestmark"


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "mfn_core"


def main(argv: Sequence[str]) -> int:
    """Print, or write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"write {LISTING.name}")
    writes: bool = parser.parse_args(argv).write
    found = surface()
    text = "\n".join([_HEAD, *found]) + "\n"
    if not writes:
        sys.stdout.write(text)
        return 0
    if wrong := breaks(listed(LISTING.read_text("utf-8")) if LISTING.exists() else [], found):
        sys.stderr.write("\n".join([f"{LISTING.name} is not written: this needs the next major version", *wrong, ""]))
        return 1
    LISTING.write_text(text, "utf-8")
    sys.stdout.write(f"{LISTING.name}: {len(found)} lines\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
