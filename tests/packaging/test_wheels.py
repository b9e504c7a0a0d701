"""Each wheel, alone in an environment of its own with what it declares and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {
    str(tomllib.loads((path.parent / "pyproject.toml").read_text())["project"]["name"]): path.parent
    for path in sorted((*ROOT.glob("*/pyproject.toml"), *ROOT.glob("mfn_plugins/*/pyproject.toml")))
}
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

pytestmark = pytest.mark.timeout(600)


def module_of(folder: Path) -> str:
    (package,) = (path for path in (folder / "src").iterdir() if (path / "__init__.py").exists())
    return package.name


def run(*command: str | Path, **settings: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        **settings,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of every distribution of the workspace."""
    assert UV is not None
    target = tmp_path_factory.mktemp("wheels")
    found = {}
    for name, folder in FOLDERS.items():
        out = target / name
        run(
            UV,
            "build",
            "--quiet",
            "--wheel",
            "--python",
            sys.executable,
            "--no-build-isolation",
            "--out-dir",
            out,
            folder,
            env={**os.environ, "VIRTUAL_ENV": sys.prefix},
        )
        (found[name],) = out.glob("*.whl")
    return found


def needed(name: str, extras: tuple[str, ...] = ()) -> set[str]:
    """The distributions of ours that `name` needs, itself included."""
    project = tomllib.loads((FOLDERS[name] / "pyproject.toml").read_text())["project"]
    requirements = list(project.get("dependencies", []))
    for extra in extras:
        requirements += project["optional-dependencies"][extra]
    ours = {re.split(r"[ \[<>=!~;]", text, maxsplit=1)[0] for text in requirements} & set(FOLDERS)
    return {name}.union(*(needed(each) for each in ours))


def environment(directory: Path, wheels: dict[str, Path], name: str, *extras: str) -> Path:
    """A fresh environment with one distribution of ours; what is ours comes from its wheel, never from an index."""
    assert UV is not None
    run(UV, "venv", "--quiet", "--python", sys.executable, directory)
    python = directory / "bin" / "python"
    files: list[str | Path] = [wheels[each] for each in sorted(needed(name, extras) - {name})]
    own = f"{wheels[name]}[{','.join(extras)}]" if extras else wheels[name]
    run(UV, "pip", "install", "--quiet", "--python", python, own, *files)
    return python


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_a_wheel_installs_and_imports_alone(name: str, wheels: dict[str, Path], tmp_path: Path) -> None:
    python = environment(tmp_path / "env", wheels, name)
    module = module_of(FOLDERS[name])
    code = f"""
import importlib, pkgutil, {module}
# What an extra brings, and what belongs to tests, is imported by those who asked for it.
left_out = ("{module}.testing", "{module}.plotting", "{module}.defaults")
for info in pkgutil.walk_packages({module}.__path__, "{module}."):
    if not info.name.startswith(left_out) and not info.name.endswith("__main__") and "third_party" not in info.name:
        importlib.import_module(info.name)
"""
    run(python, "-W", "error", "-c", code, cwd=tmp_path)
    installed = run(UV or "uv", "pip", "list", "--python", python, "--format", "freeze").stdout
    ours = {line.partition("==")[0] for line in installed.splitlines()} & set(FOLDERS)
    assert ours == needed(name)


def test_the_kernel_alone_is_light(wheels: dict[str, Path], tmp_path: Path) -> None:
    python = environment(tmp_path / "env", wheels, "mfn-core")
    installed = run(UV or "uv", "pip", "list", "--python", python, "--format", "freeze").stdout.split()
    assert len(installed) <= 12, installed
    loaded = run(python, "-c", "import mfn_core, sys; print(*sorted(sys.modules))", cwd=tmp_path).stdout.split()
    assert not {"grpc", "scipy", "numba", "matplotlib", "numpy"} & set(loaded)


def test_a_scientist_needs_no_server(wheels: dict[str, Path], tmp_path: Path) -> None:
    python = environment(tmp_path / "env", wheels, "mycelium-fractal-net")
    done = run(python.with_name("mfn"), "simulate", "--grid", "16", "--steps", "4", "--json", cwd=tmp_path)
    assert '"engine": "numpy"' in done.stdout
    assert "grpc" not in run(UV or "uv", "pip", "list", "--python", python, "--format", "freeze").stdout
    refused = subprocess.run(
        [python.with_name("mfn"), "simulate", "--plot", "field.png"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert refused.returncode != 0
    assert "mycelium-fractal-net[plot]" in refused.stderr


def test_the_server_extra_serves(wheels: dict[str, Path], tmp_path: Path) -> None:
    python = environment(tmp_path / "env", wheels, "mycelium-fractal-net", "server")
    run(python.with_name("mfn"), "check", cwd=tmp_path)
