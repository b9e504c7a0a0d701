"""What may never be in the tree, and what must be."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts]
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]


HOSTS = ("pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org", "deb.debian" + ".org")


def test_no_file_names_the_host_of_a_registry() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {host}" for host in HOSTS if host in text]
    assert found == []


@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml", "poetry.lock"])
def test_no_lock_file_that_holds_hosts_is_kept(name: str) -> None:
    assert name not in {path.name for path in tracked()}


def test_xds_protos_is_not_installed() -> None:
    # It overwrites opentelemetry/proto, envoy/ and google/ of other distributions.
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.distribution("xds-protos")


@pytest.mark.slow
def test_no_two_distributions_install_the_same_file() -> None:
    owners: dict[str, str] = {}
    clashes = []
    for distribution in importlib.metadata.distributions():
        for file in distribution.files or ():
            name = str(file)
            if name.startswith("..") or not name.endswith(".py"):
                continue
            other = owners.setdefault(name, distribution.name)
            if other != distribution.name:
                clashes.append(f"{name}: {other} and {distribution.name}")
    assert clashes == []


def test_requirements_are_pinned_and_hold_nothing_of_ours() -> None:
    lines = [line.partition(";")[0].strip() for line in (ROOT / "requirements-dev.txt").read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    assert lines
    assert [line for line in lines if "==" not in line] == []
    assert [line for line in lines if line.startswith(("mfn", "mycelium"))] == []


def test_no_module_has_outgrown_one_concept() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked()
        if path.suffix == ".py" and "src" in path.parts and not path.name.endswith("_pb2.py")
        if (lines := len(path.read_text().splitlines())) > 500
    }
    assert long == {}


def test_make_help_names_every_target_a_newcomer_needs() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("setup", "demo", "test", "check", "serve", "bench", "proto", "format", "clean"):
        assert re.search(rf"^\s+{target}\s", done.stdout, re.MULTILINE), target
