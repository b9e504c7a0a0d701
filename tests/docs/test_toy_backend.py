"""The backend that the readme shows: installed as a stranger would install it, and proved by the suites."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOY = ROOT / "examples" / "toy_backend"
SOURCE = TOY / "src" / "mfn_engine_toy" / "plugin.py"


def lines_of_code(source: str) -> int:
    """Lines that hold code, without imports, docstrings, comments and blank lines."""
    tree = ast.parse(source)
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            left_out.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            first = node.body[0]
            left_out.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return len({token.start[0] for token in tokens if token.type not in silent} - left_out)


def backend_classes() -> str:
    return SOURCE.read_text("utf-8").partition("\n\n\n@hookimpl")[0]


def test_the_two_classes_have_at_most_thirty_lines() -> None:
    assert lines_of_code(backend_classes()) <= 30


def test_the_readme_shows_this_very_file() -> None:
    shown = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert SOURCE.read_text("utf-8") in shown


def test_it_is_formatted_as_everything_else() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", str(TOY)], cwd=ROOT, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stdout.decode()


def test_it_uses_public_names_alone() -> None:
    for node in ast.walk(ast.parse(SOURCE.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mfn"):
            module = __import__(node.module or "", fromlist=["__all__"])
            assert not any(part.startswith("_") for part in (node.module or "").split("."))
            assert {alias.name for alias in node.names} <= set(module.__all__)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the package is installed beside everything else, and nothing of ours was changed."""
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"),
            *("--no-build-isolation", "--python", sys.executable, "--target", str(target), str(TOY)),
        ],
        check=True,
        capture_output=True,
    )
    return {**os.environ, "PYTHONPATH": str(target)}


def mfn(installed: dict[str, str], *words: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "mfn_core", *words], env=installed, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_it_passes_the_suites(installed: dict[str, str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(TOY / "tests")],
        cwd=ROOT,
        env=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"\b[3-9]\d passed", ran.stdout), ran.stdout


def test_it_is_found_and_gives_the_numbers_of_the_standard_engine(installed: dict[str, str]) -> None:
    pytest.importorskip("mfn_engine_numpy")
    plugins = json.loads(mfn(installed, "plugins", "--json"))["plugins"]
    assert "engine_toy" in {plugin["name"] for plugin in plugins}
    words = ("simulate", "--no-turing", "--spike-probability", "0.9", "--steps", "300", "--json", "--engine")
    toy, standard = (json.loads(mfn(installed, *words, engine)) for engine in ("toy", "numpy"))
    assert toy.pop("engine") == "toy"
    assert standard.pop("engine") == "numpy"
    assert toy["growth_events"] > 100
    assert toy == standard
