"""What `mfn new` writes passes its suites as written, where it is installed from a wheel; and it is clean."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mfn_environments import FOLDERS, Wheels, build, environment, install, once, run
from mfn_source import code_lines, private_names

NAME = "slime_mould"

KINDS = {
    "backend": ("mfn-engine-slime-mould", 30),
    "authenticator": ("mfn-auth-slime-mould", 20),
    "audit-sink": ("mfn-audit-slime-mould", 30),
    "limiter": ("mfn-limiter-slime-mould", 15),
    "middleware": ("mfn-middleware-slime-mould", 35),
    "service": ("mfn-service-slime-mould", 15),
    "model": ("mfn-model-slime-mould", 20),
}
"""The folder that each makes, and how many tests pass in it at least."""

MODEL_NEEDS = ("mycelium-fractal-net", "mfn-engine-numpy")
"""What the tests of a model need beside the kernel, where this checkout has it."""

pytestmark = pytest.mark.timeout(120)


def new(python: Path, kind: str, name: str, directory: Path) -> Path:
    """What `mfn new` of an environment makes in an empty directory."""
    words = [kind, name] if kind in ("backend", "model") else ["plugin", name, "--kind", kind]
    run(python.with_name("mfn"), "new", *words, "--directory", directory, cwd=directory)
    (made,) = directory.iterdir()
    return made


@pytest.fixture(scope="session")
def packages(shared: Path, wheels: Wheels) -> Path:
    """A folder with a package of each kind, made by the kernel in `env`, in which they are installed as well.

    What the tests of a model need is in an environment of its own, `model_env`: the other kinds do without it.
    """

    def make(directory: Path) -> None:
        python = environment(directory / "env", wheels, "mfn-core", "testing")
        built = []
        for kind, (folder, _) in KINDS.items():
            (directory / kind).mkdir()
            assert new(python, kind, NAME, directory / kind).name == folder
            built.append(build(directory / kind / folder, directory / "wheels" / kind))
        install(python, *built)
        if set(MODEL_NEEDS) <= set(FOLDERS):
            environment(directory / "model_env", wheels, "mfn-core", "testing", further=(*MODEL_NEEDS, built[-1]))

    return once(shared / "packages", make)


@pytest.mark.parametrize(
    "kind",
    [
        kind if kind in ("backend", "model", "middleware") else pytest.param(kind, marks=pytest.mark.slow)
        for kind in KINDS
    ],
)
def test_a_new_package_passes_its_suites_as_written(packages: Path, kind: str) -> None:
    folder, least = KINDS[kind]
    python = packages / ("model_env" if kind == "model" else "env") / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{', '.join(MODEL_NEEDS)}: not all of this checkout")
    ran = run(python, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=packages / kind / folder)
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed is not None, ran.stdout
    assert int(passed[1]) >= least, ran.stdout
    assert "failed" not in ran.stdout


def test_the_new_packages_are_listed_together(packages: Path) -> None:
    listed = run(packages / "env" / "bin" / "mfn", "plugins", cwd=packages).stdout
    for section in ("engines", "auth", "audit", "limits", "middlewares", "services"):
        assert f"{section}.{NAME}" in listed
    assert f"model_{NAME}" in listed
    assert "fails" not in listed


def test_a_new_model_is_described_and_simulated(packages: Path) -> None:
    mfn = packages / "model_env" / "bin" / "mfn"
    if not mfn.exists():
        pytest.skip(f"{', '.join(MODEL_NEEDS)}: not all of this checkout")
    assert "u <- u + (d * L(u) + rate * u * (1 - u))" in run(mfn, "models", NAME, cwd=packages).stdout
    assert "density" in run(mfn, "simulate", "--model", NAME, "--grid", "16", "--steps", "3", cwd=packages).stdout


LINTED = "E,F,W,I,B,UP,SIM,C4,PIE,RET,RUF,PT,PTH,TID,ASYNC,BLE,T20,N,A"


@pytest.mark.parametrize("name", ["x", "a_name_of_thirty_two_characters0"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_clean_whatever_its_name(packages: Path, kind: str, name: str, tmp_path: Path) -> None:
    folder = new(packages / "env" / "bin" / "python", kind, name, tmp_path)
    for words in (["format", "--check", "."], ["check", "--select", LINTED, "."], ["check", "--select", "S", "src"]):
        ran = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--no-cache"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.slow
def test_the_new_packages_have_strict_types(packages: Path) -> None:
    # In one run, so that the kernel is read once.
    folders = [packages / kind / folder for kind, (folder, _) in KINDS.items()]
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(packages / "mypy")]
    command += ["--config-file", str(folders[0] / "pyproject.toml")]
    sources = [str(path) for folder in folders for path in (folder / "src", folder / "tests")]
    ran = subprocess.run(
        [*command, *sources],
        cwd=packages,
        env={**os.environ, "MYPYPATH": os.pathsep.join(str(folder / "src") for folder in folders)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def plugin_source(packages: Path, kind: str) -> str:
    (plugin,) = (packages / kind / KINDS[kind][0] / "src").glob("*/plugin.py")
    return plugin.read_text("utf-8")


def test_what_computes_in_a_new_backend_takes_less_than_fifty_lines(packages: Path) -> None:
    text = plugin_source(packages, "backend")
    parts = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    parts = [node for node in parts if not node.name.startswith(("make_", "mfn_"))]
    assert {node.name for node in parts} == {"advanced", "PlainSession", "PlainBackend"}
    assert sum(code_lines(str(ast.get_source_segment(text, node))) for node in parts) < 50


def test_the_declaration_of_a_new_model_takes_less_than_forty_lines(packages: Path) -> None:
    text = plugin_source(packages, "model")
    (declared,) = (
        node for node in ast.parse(text).body if isinstance(node, ast.Assign) and "MODEL" in ast.unparse(node.targets)
    )
    assert code_lines(str(ast.get_source_segment(text, declared))) < 40


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_uses_public_names_alone(packages: Path, kind: str) -> None:
    assert list(private_names(plugin_source(packages, kind))) == []
