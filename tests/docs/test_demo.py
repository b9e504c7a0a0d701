"""The demo runs as a newcomer runs it, and says what it shows."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mfn_core.registry import PluginRegistry

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
INSTALLED = {plugin.name for plugin in PluginRegistry.installed()}
NEEDED = {"engine_numpy", "service_mfn", "auth_hmac", "audit_jsonl"}

pytestmark = pytest.mark.skipif(
    not NEEDED <= INSTALLED
    or not {"transport_grpc", "transport_asgi"} & INSTALLED
    or importlib.util.find_spec("mfn_client") is None,
    reason="parts that the demo is made of are not installed",
)

WITHOUT = """
import runpy, sys
from mfn_core.registry import PluginRegistry

_, absent, directory = sys.argv
found = [plugin for plugin in PluginRegistry.installed() if plugin.name != absent]
PluginRegistry.installed = staticmethod(lambda: found)
sys.argv[:] = ["demo.py", "--directory", directory]
sys.path.insert(0, "examples")
runpy.run_path("examples/demo.py", run_name="__main__")
"""
"""The demo where a plugin is not installed."""


PICTURE = r"^   (no picture of it: .+|a field that grows in a browser: .+)$"
"""What came of the picture of the live page."""


def tell(*words: str, path: str = os.environ["PATH"]) -> str:
    ran = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "110", "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    return ran.stdout


def settled(told: str) -> str:
    """What is the same at every run: without ports, times, hashes and the last digits of numbers."""
    told = re.sub(r"127\.0\.0\.1:[1-9]\d+", "ADDRESS", told)
    told = re.sub(r"\b[0-9a-f]{64}\b", "HASH", told)
    told = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", told)
    told = re.sub(r"(\d\.\d{6})\d+", r"\1", told)
    told = re.sub(PICTURE, "   PICTURE", told, flags=re.MULTILINE)  # as this machine has a browser or none
    # Commands take effect when they arrive, a few steps earlier or later.
    told = re.sub(r"step +\d+  (paused|injected|resumed|highest potential).*", r"step N  \1", told)
    return "\n".join(line.rstrip() for line in told.strip().splitlines())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What one run printed, and its folder."""
    directory = tmp_path_factory.mktemp("demo")
    return tell("examples/demo.py", "--directory", str(directory)), directory


def test_the_readme_shows_what_the_demo_prints(demo: tuple[str, Path]) -> None:
    if not {"transport_grpc", "transport_asgi"} <= INSTALLED:
        pytest.skip("the readme shows both transports")
    (shown,) = re.findall(r"make demo\n```\n\n```text\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    told, directory = demo
    assert settled(told.replace(str(directory), "demo")) == settled(shown)


def test_the_demo_tells_its_story_to_the_end(demo: tuple[str, Path]) -> None:
    told, directory = demo
    assert re.findall(r"^(\d+)  ", told, re.MULTILINE) == [str(number) for number in range(1, 11)]
    for transport in {"transport_grpc", "transport_asgi"} & INSTALLED:
        assert transport in told
    assert told.count("the last one is equal, bit for bit, to RunSimulation") >= 1
    assert told.count("UNAUTHENTICATED: authentication failed") == 3
    assert "nonce was used before" in told
    assert "INVALID_ARGUMENT" in told
    assert "injected 100 mV into cell (32, 32)" in told
    assert "40 of 40 frames arrived" in told
    assert "exit status 0" in told
    assert re.search(r"audit\.jsonl: whole: \d+ records", told)
    picture = (directory / "mycelium.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert 20_000 < len(picture) < 300_000
    assert (directory / "keys.toml").stat().st_mode & 0o777 == 0o600


def test_the_demo_ends_with_the_address_that_the_live_page_will_have(demo: tuple[str, Path]) -> None:
    if not {"transport_asgi", "auth_loopback"} <= INSTALLED:
        pytest.skip("there is no live page")
    told, directory = demo
    *_, came, last = told.splitlines()
    assert last == "   make serve prints a link that opens it: http://127.0.0.1:8080/#token=…"
    assert re.match(PICTURE, came), came
    assert (directory / "live.png").exists() == came.endswith("live.png")


@pytest.mark.browser
@pytest.mark.skipif(
    not {"transport_asgi", "auth_loopback"} <= INSTALLED or not any(map(shutil.which, ("chromium", "google-chrome"))),
    reason="there is no live page, or no Chromium to see it",
)
def test_the_demo_takes_a_picture_of_the_live_page(tmp_path: Path) -> None:
    told = tell("examples/demo.py", "--directory", str(tmp_path))
    assert f"a field that grows in a browser: {tmp_path}/live.png" in told
    picture = (tmp_path / "live.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert (int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])) == (1280, 900)
    assert len(picture) > 50_000, "there is nothing to be seen on it"


@pytest.mark.slow
@pytest.mark.skipif(not {"transport_asgi", "auth_loopback"} <= INSTALLED, reason="there is no live page")
@pytest.mark.parametrize(
    ("script", "reason"),
    [(None, "there is no chromium, chromium-browser or google-chrome"), ("exit 3", "the browser ended")],
)
def test_without_a_browser_or_with_a_broken_one_the_demo_says_so_and_succeeds(
    script: str | None, reason: str, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    if script is not None:
        (programs / "chromium").write_text(f"#!/bin/sh\n{script}\n")
        (programs / "chromium").chmod(0o755)
    told = tell("examples/demo.py", "--directory", str(tmp_path), path=str(programs))
    assert f"\n   no picture of it: {reason}\n" in told
    assert not (tmp_path / "live.png").exists()


def load_photograph() -> ModuleType:
    spec = importlib.util.spec_from_file_location("photograph", ROOT / "examples" / "photograph.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("script", "expected", "message"),
    [
        ("exit 1", RuntimeError, "the browser ended"),
        pytest.param("exec sleep 60", TimeoutError, "took too long", marks=pytest.mark.slow),
        (
            r"""printf '{"id":1,"error":{"message":"no tabs"}}\0' >&4; exec cat <&3""",
            RuntimeError,
            "Target.createTarget: no tabs",
        ),
    ],
)
def test_a_browser_that_does_not_do_its_part_is_an_error_that_says_how(
    script: str, expected: type[Exception], message: str, tmp_path: Path
) -> None:
    browser, picture = tmp_path / "chromium", tmp_path / "live.png"
    browser.write_text(f"#!/bin/sh\n{script}\n")
    browser.chmod(0o755)
    patience = 1.0 if expected is TimeoutError else 30.0
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(expected, match=message):
        load_photograph().photograph("about:blank", picture, browser=str(browser), seconds=patience)
    assert not picture.exists()
    assert set(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.slow
def test_a_second_run_starts_afresh(tmp_path: Path) -> None:
    first = tell("examples/demo.py", "--directory", str(tmp_path))
    second = tell("examples/demo.py", "--directory", str(tmp_path))
    records = [re.findall(r"whole: (\d+) records", told) for told in (first, second)]
    assert records[0] == records[1]


@pytest.mark.slow
@pytest.mark.parametrize("absent", sorted({"transport_grpc", "transport_asgi"} & INSTALLED))
def test_without_one_transport_it_says_so_and_goes_on_with_the_other(absent: str, tmp_path: Path) -> None:
    if not {"transport_grpc", "transport_asgi"} <= INSTALLED:
        pytest.skip("there is only one transport")
    told = tell("-c", WITHOUT, absent, str(tmp_path))
    assert f"{absent} is not installed: the demo goes on without it" in told
    assert "exit status 0" in told
    assert absent not in (tmp_path / "mfn.toml").read_text()


def test_the_picture_of_the_readme_is_small() -> None:
    picture = ROOT / "docs" / "images" / "mycelium.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 300_000
