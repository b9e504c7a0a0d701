"""Packages of strangers, in environments that hold them and what they declare, and nothing of this checkout."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mfn_environments import FOLDERS, Wheels, build, environment, once

HERE = Path(__file__).parent

TOYS = sorted(path.parent.name for path in HERE.glob("*_toy/pyproject.toml"))

SERVER = ("mfn-service", "mfn-transport-grpc")
"""What a server needs beside the toys, where this checkout has it."""

collect_ignore = TOYS
"""Their tests run where they are installed."""


@pytest.fixture(scope="session")
def toys(shared: Path, wheels: Wheels) -> Path:
    """A folder with copies of the toys' own folders, and `env`, in which they are installed from wheels."""

    def make(directory: Path) -> None:
        built = []
        for toy in TOYS:
            # A copy, so that neither the settings nor the conftest of this checkout are found above it.
            shutil.copytree(HERE / toy, directory / toy, ignore=shutil.ignore_patterns("__pycache__"))
            built.append(build(directory / toy, directory / "wheels" / toy))
        served = SERVER if set(SERVER) <= set(FOLDERS) else ()
        environment(directory / "env", wheels, "mfn-core", "testing", further=(*built, *served))

    return once(shared / "toys", make)
