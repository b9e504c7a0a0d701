"""The package as a whole: names, documentation, what importing it costs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import mfn_model

MODULES = [f"mfn_model.{module.name}" for module in pkgutil.iter_modules(mfn_model.__path__)]


@pytest.mark.parametrize("name", ["mfn_model", *MODULES])
def test_every_exported_name_exists_and_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for exported in module.__all__:
        value = getattr(module, exported)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{name}.{exported} has no documentation"


@pytest.mark.parametrize("name", ["mfn_model", *MODULES])
def test_examples_in_the_documentation_hold(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.failed == 0


def test_importing_it_imports_neither_scipy_nor_another_package_of_ours() -> None:
    code = "import mfn_model, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert not loaded & {"scipy", "matplotlib", "attrs", "attr", "grpc"}
    assert {name for name in loaded if name.startswith("mfn_") and not name.endswith("_finder")} <= {"mfn_model"} | {
        name for name in loaded if name.startswith("__editable__")
    }
