"""What of a change to the plugin API breaks a plugin that was written against the list as it was."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["additions", "breaks"]


def breaks(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The changes that only a new major version may make, each in one line, by name."""
    old, new = _by_name(before), _by_name(after)
    return [
        *(f"removed: {name}: {old[name]}" for name in sorted(old.keys() - new.keys())),
        *(
            f"changed: {name}: {old[name]}  now  {new[name]}"
            for name in sorted(old.keys() & new.keys())
            if old[name] != new[name] and not _takes_as_much(name, old, new)
        ),
        *(f"demanded: {name}: {new[name]}" for name in sorted(new.keys() - old.keys()) if _is_demand(name, old, new)),
    ]


def additions(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The lines that are new or say more, and break nothing."""
    old, new = _by_name(before), _by_name(after)
    return [
        f"{name}: {line}"
        for name, line in sorted(new.items())
        if old.get(name) != line and (_takes_as_much(name, old, new) if name in old else not _is_demand(name, old, new))
    ]


def _by_name(lines: Iterable[str]) -> dict[str, str]:
    return {name: text for name, _, text in (line.partition(": ") for line in lines)}


def _owner(name: str) -> str:
    return name.removesuffix("()") if name.endswith("()") else name.rpartition(".")[0]


def _is_demand(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    """Whether something new asks for work of plugins that are there: a further member of what they implement, or a
    further field that whoever makes the value must give."""
    owner = _owner(name)
    if owner not in old:
        return False
    return old[owner] == "protocol" or new[name].startswith("required ")


def _takes_as_much(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    """Whether every use of the old is a right use of the new.

    A hook may be given further arguments, because an implementation names those that it takes. A function that plugins
    call may take further arguments with a default. What plugins implement may not change at all: the kernel would
    call it with what it does not know.
    """
    if old.get(_owner(name)) == "protocol":
        return False
    if old[name].startswith("required ") and " = " in new[name]:
        return new[name].partition(" = ")[0] == old[name].removeprefix("required ")
    is_hook = old[name].startswith("hook ")
    before, after = _parsed(old[name]), _parsed(new[name])
    if before is None or after is None or before[0] != after[0] or before[2] != after[2]:
        return False
    if is_hook:
        return set(before[1]) <= set(after[1])
    return _extended(before[1], after[1])


_Parameter = tuple[str, str, str, bool]
"""Kind, name, annotation and default as text, whether it must be given."""


def _parsed(line: str) -> tuple[str, list[_Parameter], str] | None:
    """What stands before a signature, its parameters, and what it returns; None for what is no signature."""
    before, opening, rest = line.partition("(")
    if before.strip() not in (
        "",
        "async",
        "hook",
        "classmethod",
        "staticmethod",
        "classmethod async",
        "staticmethod async",
    ):
        return None
    try:
        (node,) = ast.parse(f"def _({rest}: ..." if opening else "").body
    except (SyntaxError, ValueError):
        return None
    if not isinstance(node, ast.FunctionDef):
        return None
    returned = "" if node.returns is None else ast.unparse(node.returns)
    return before.strip(), list(_parameters(node.args)), returned


def _parameters(arguments: ast.arguments) -> Iterator[_Parameter]:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    groups = [
        *(("positional", each, default) for each, default in zip(positional, defaults, strict=True)),
        *(
            ("keyword", each, default)
            for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        ),
    ]
    for kind, each, default in groups:
        annotation = "" if each.annotation is None else ast.unparse(each.annotation)
        yield kind, each.arg, annotation + ("" if default is None else f" = {ast.unparse(default)}"), default is None
    for kind, rest in (("rest", arguments.vararg), ("keywords", arguments.kwarg)):
        if rest is not None:
            yield kind, rest.arg, "" if rest.annotation is None else ast.unparse(rest.annotation), False


def _extended(before: Sequence[_Parameter], after: Sequence[_Parameter]) -> bool:
    """Whether `after` has every parameter of `before`, positional ones in their places, and the others a default."""
    places = [each for each in before if each[0] == "positional"]
    if [each for each in after if each[0] == "positional"][: len(places)] != places:
        return False
    return set(before) <= set(after) and not any(each[3] for each in after if each not in before)
