"""Programs for Node, with the packages that `make test-interop` has installed for them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["HOME", "bundled", "definitions", "program", "run_script"]

ROOT = Path(__file__).parents[4]

HOME = Path(__file__).parents[2] / "node"


def program(name: str) -> Path:
    """A program of one of the packages: `buf`, `esbuild`.

    Raises:
        RuntimeError: the packages are not installed.
    """
    found = HOME / "node_modules" / ".bin" / name
    if not found.exists():
        raise RuntimeError(f"{found} is missing: run make test-interop, which installs what {HOME}/package.json names")
    return found


def run_script(name: str, job: object) -> Any:
    """What a script of ours makes of a job: JSON on its standard input, and on its output.

    Raises:
        RuntimeError: the packages are not installed, or the script failed; holds what it wrote.
    """
    program("esbuild")
    done = subprocess.run(
        ["node", HOME / name], input=json.dumps(job), capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{name} ended with status {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def definitions(file: Path) -> bytes:
    """The definition files of this project as a FileDescriptorSet, which is written to a file as well."""
    subprocess.run(
        [program("buf"), "build", ROOT / "proto", "--as-file-descriptor-set", "-o", file], check=True, timeout=60
    )
    return file.read_bytes()


def bundled(name: str, file: Path) -> None:
    """Write a script of ours, with all that it imports, as one module for browsers."""
    subprocess.run(
        [
            *(program("esbuild"), HOME / name, "--bundle", "--format=esm", "--platform=browser", "--target=es2022"),
            *("--log-level=warning", f"--outfile={file}"),
        ],
        check=True,
        timeout=60,
    )
