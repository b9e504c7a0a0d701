"""The server and the call that the readme shows, served and called for real."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mfn_core.registry import PluginRegistry
from mfn_core.testing.process import ServerProcess

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def block(kind: str) -> str:
    found = re.search(rf"^```{re.escape(kind)}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found is not None, f"the readme has no block {kind!r}"
    return found[1]


def test_the_call_that_is_shown_prints_what_is_shown(tmp_path: Path) -> None:
    pytest.importorskip("mfn_client")
    tables = tomllib.loads(block("toml file=mfn.toml"))
    if missing := set(tables["server"]["plugins"]) - {plugin.name for plugin in PluginRegistry.installed()}:
        pytest.skip(f"{', '.join(sorted(missing))} is not installed")
    (command,) = [line for line in block("sh run").splitlines() if line.startswith("mfn keys new")]
    words = command.partition("#")[0].split()
    subprocess.run([sys.executable, "-m", "mfn_core", *words[1:]], cwd=tmp_path, check=True, capture_output=True)
    shown = tables["transports"]["grpc"]["listen"]
    tables["transports"]["grpc"]["listen"] = "127.0.0.1:0"
    script = block("python file=call.py")
    assert shown in script
    with ServerProcess(tables, tmp_path) as server:
        ran = subprocess.run(
            [sys.executable, "-c", script.replace(shown, server.address("grpc"))],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert f"```text\n{ran.stdout}```" in README


def test_every_package_is_in_the_table() -> None:
    listed = set(re.findall(r"^\| \[([\w/]+)\]\(\1\) \|", README, re.MULTILINE))
    folders = {
        str(path.parent.relative_to(ROOT)): tomllib.loads(path.read_text("utf-8"))["project"]["name"]
        for path in (*ROOT.glob("*/pyproject.toml"), *ROOT.glob("mfn_plugins/*/pyproject.toml"))
    }
    assert set(folders) - listed == set()
    for folder, distribution in folders.items():
        assert f"[{folder}]({folder}) | {distribution} |" in README
