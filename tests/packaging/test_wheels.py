"""Each wheel, alone in an environment of its own with what it declares and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mfn_environments import FOLDERS, Wheels, environment, installed, module_of, needed, run

pytestmark = pytest.mark.timeout(600)


QUICK = ("mfn-core", "mfn-client", "mfn-model", "mycelium-fractal-net")
"""Distributions that are installed alone whenever tests run; the others with the slow ones."""


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in sorted(FOLDERS)]
)
def test_a_wheel_installs_and_imports_alone(name: str, wheels: Wheels, tmp_path: Path) -> None:
    python = environment(tmp_path / "env", wheels, name)
    module = module_of(FOLDERS[name])
    code = f"""
import importlib, pkgutil, {module}
# What an extra brings, and what belongs to tests, is imported by those who asked for it.
left_out = ("{module}.testing", "{module}.plotting", "{module}.defaults", "mfn_client.commands")
for info in pkgutil.walk_packages({module}.__path__, "{module}."):
    if not info.name.startswith(left_out) and not info.name.endswith("__main__") and "third_party" not in info.name:
        importlib.import_module(info.name)
"""
    run(python, "-W", "error", "-c", code, cwd=tmp_path)
    ours = {line.partition("==")[0] for line in installed(python)} & set(FOLDERS)
    assert ours == needed(name)


def test_the_kernel_alone_is_light(wheels: Wheels, tmp_path: Path) -> None:
    python = environment(tmp_path / "env", wheels, "mfn-core")
    assert len(installed(python)) <= 12, installed(python)
    loaded = run(python, "-c", "import mfn_core, sys; print(*sorted(sys.modules))", cwd=tmp_path).stdout.split()
    assert not {"grpc", "scipy", "numba", "matplotlib", "numpy"} & set(loaded)


def test_a_scientist_needs_no_server(wheels: Wheels, tmp_path: Path) -> None:
    python = environment(tmp_path / "env", wheels, "mycelium-fractal-net")
    done = run(python.with_name("mfn"), "simulate", "--grid", "16", "--steps", "4", "--json", cwd=tmp_path)
    assert '"engine": "numpy"' in done.stdout
    assert not [line for line in installed(python) if "grpc" in line]
    refused = subprocess.run(
        [python.with_name("mfn"), "simulate", "--plot", "field.png"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert refused.returncode != 0
    assert "mycelium-fractal-net[plot]" in refused.stderr


@pytest.mark.skipif(
    not {"mfn-transport-asgi", "mfn-transport-grpc"} <= set(FOLDERS),
    reason="the extra names a package that is not here",
)
def test_the_server_extra_serves(wheels: Wheels, tmp_path: Path) -> None:
    python = environment(tmp_path / "env", wheels, "mycelium-fractal-net", "server")
    run(python.with_name("mfn"), "check", cwd=tmp_path)
