"""What a command says of itself, read from its source without running it."""

from __future__ import annotations

import ast
import importlib.util
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec, PathFinder

__all__ = ["summary_of"]


def summary_of(target: str) -> str:
    """First line of the help of `package.module:command`, else of its module; empty where there is no source.

    The help is what click would show: `short_help` or `help` of the decorator or call that makes the command, or
    the function's docstring. Only texts that stand there literally are found.
    """
    module, _, attribute = target.partition(":")
    try:
        source = _source(module.strip())
        if source is None:
            return ""
        tree = ast.parse(source)
    except (OSError, ImportError, SyntaxError, ValueError):
        return ""  # running the command will say what is wrong with it
    found = _of_command(tree, attribute.strip()) or ast.get_docstring(tree) or ""
    return found.strip().partition("\n")[0].strip()


def _source(module: str) -> str | None:
    """The source of a module. Only its top-level package is looked up by name, which runs none of its code."""
    top, *rest = module.split(".")
    spec: ModuleSpec | None = importlib.util.find_spec(top)
    name = top
    for part in rest:
        if spec is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    if spec is None or not isinstance(spec.loader, InspectLoader):
        return None
    return spec.loader.get_source(name)


def _of_command(tree: ast.Module, name: str) -> str | None:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return _of_calls(node.decorator_list) or ast.get_docstring(node)
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return _of_calls([node.value])
    return None


def _of_calls(calls: list[ast.expr]) -> str | None:
    for wanted in ("short_help", "help"):
        for call in calls:
            # An option of the command has a help of its own.
            if not isinstance(call, ast.Call) or _called(call) in ("option", "argument"):
                continue
            for keyword in call.keywords:
                value = keyword.value
                if keyword.arg == wanted and isinstance(value, ast.Constant) and isinstance(value.value, str):
                    return value.value
    return None


def _called(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
