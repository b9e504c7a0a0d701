"""Both packages as a whole: exported names are documented, and examples hold."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import mfn_model.aggregation
import mfn_model.validation

MODULES = [
    f"{package.__name__}{suffix}"
    for package in (mfn_model.aggregation, mfn_model.validation)
    for suffix in ("", *(f".{module.name}" for module in pkgutil.iter_modules(package.__path__)))
]


@pytest.mark.parametrize("name", MODULES)
def test_every_exported_name_exists_and_is_documented_and_examples_hold(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for exported in module.__all__:
        value = getattr(module, exported)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{name}.{exported} has no documentation"
    assert doctest.testmod(module).failed == 0
