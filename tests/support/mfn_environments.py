"""Wheels of the workspace, and environments that hold nothing but what is installed from them."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = [
    "FOLDERS",
    "ROOT",
    "UV",
    "Wheels",
    "build",
    "environment",
    "install",
    "installed",
    "module_of",
    "needed",
    "once",
    "run",
]

ROOT = Path(__file__).parents[2]

FOLDERS = {
    str(tomllib.loads((path.parent / "pyproject.toml").read_text())["project"]["name"]): path.parent
    for path in sorted((*ROOT.glob("*/pyproject.toml"), *ROOT.glob("mfn_plugins/*/pyproject.toml")))
}
"""Every distribution of the workspace by name."""

UV = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}") or "uv"


def module_of(folder: Path) -> str:
    """The import name of a distribution of the workspace."""
    (package,) = (path for path in (folder / "src").iterdir() if (path / "__init__.py").exists())
    return package.name


def run(*command: str | Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        **settings,  # type: ignore[call-overload]  # handed on as they are
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done  # type: ignore[no-any-return]  # of that call


def once(directory: Path, make: Callable[[Path], object]) -> Path:
    """`directory` as `make` fills it, made by one process of a test run and used by all of them."""
    ready = directory.with_name(f"{directory.name}.ready")
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            shutil.rmtree(directory, ignore_errors=True)  # of a process that failed half-way
            directory.mkdir()
            make(directory)
            ready.touch()
    return directory


def build(folder: Path, directory: Path) -> Path:
    """Build the wheel of a package into `directory`, with the build backend that is installed here."""
    run(
        *(UV, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable),
        *("--out-dir", directory, folder),
        env={**os.environ, "VIRTUAL_ENV": sys.prefix},
    )
    (wheel,) = directory.glob("*.whl")
    return wheel


class Wheels:
    """The wheels of the workspace by distribution, each built when it is first asked for."""

    def __init__(self, directory: Path) -> None:
        """Keep them in `directory`, which other processes may share."""
        self._directory = directory

    def __getitem__(self, name: str) -> Path:
        (wheel,) = once(self._directory / name, lambda directory: build(FOLDERS[name], directory)).glob("*.whl")
        return wheel


def needed(name: str, extras: Iterable[str] = ()) -> set[str]:
    """The distributions of ours that `name` needs, itself included."""
    project = tomllib.loads((FOLDERS[name] / "pyproject.toml").read_text())["project"]
    requirements = list(project.get("dependencies", []))
    for extra in extras:
        requirements += project["optional-dependencies"][extra]
    ours = {re.split(r"[ \[<>=!~;]", text, maxsplit=1)[0] for text in requirements} & set(FOLDERS)
    return {name}.union(*(needed(each) for each in ours))


def environment(directory: Path, wheels: Wheels, name: str, *extras: str, further: Iterable[str | Path] = ()) -> Path:
    """A fresh environment with one distribution of ours; what is ours comes from its wheel, never from an index.

    `further` are other wheels, or names of other distributions of ours. The environment's interpreter is returned.
    """
    own = f"{wheels[name]}[{','.join(extras)}]" if extras else wheels[name]
    others = {each for each in further if isinstance(each, str)}
    ours = needed(name, extras).union(*(needed(each) for each in others)) - {name}
    files = [*(wheels[each] for each in sorted(ours)), *(each for each in further if isinstance(each, Path))]
    run(UV, "venv", "--quiet", "--python", sys.executable, directory)
    python = directory / "bin" / "python"
    install(python, own, *files)
    return python


def install(python: Path, *wheels: str | Path) -> None:
    """Install wheels into an environment, with what they declare."""
    run(UV, "pip", "install", "--quiet", "--python", python, *wheels)


def installed(python: Path) -> list[str]:
    """What an environment holds, each as `name==version`."""
    return run(UV, "pip", "list", "--python", python, "--format", "freeze").stdout.split()
