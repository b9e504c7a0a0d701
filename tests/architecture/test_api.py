"""The plugin API is what its list says, and the plugins of this repository use nothing else of the kernel."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

import mfn_core.auth
from mfn_core import Backend, Metadata, hookspecs

ROOT = Path(__file__).parents[2]
API = ROOT / "mfn_core" / "api"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"api_{name}", API / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate, changes = load("generate"), load("_changes")
LISTED: list[str] = generate.listed(generate.LISTING.read_text("utf-8"))


def names(lines: Sequence[str]) -> set[str]:
    return {line.partition(": ")[0] for line in lines}


def test_the_list_of_the_plugin_api_is_what_the_code_has() -> None:
    found: list[str] = generate.surface()
    broken, added = changes.breaks(LISTED, found), changes.additions(LISTED, found)
    assert broken == [], (
        f"{generate.LISTING.name} promises this to plugins until the next major version of the entry-point group; keep "
        "it, or see docs/adr/0027-plugin-api-v1.md"
    )
    assert added == [], f"this is new in the plugin API: if it shall stay for ever, run make accept-api ({API})"
    assert found == LISTED, f"{generate.LISTING.name} is not as it is written: run make accept-api"


def test_the_list_is_of_the_group_that_the_kernel_loads() -> None:
    assert hookspecs.ENTRY_POINT_GROUP == "mfn.plugins.v1"
    assert generate.LISTING.name == "v1.txt"
    assert {name for name in vars(hookspecs) if name.startswith("mfn_")} == {
        line.partition(":")[0].rpartition(".")[2] for line in LISTED if ": hook " in line
    }


def test_it_says_the_same_of_another_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, API / "generate.py"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert generate.listed(done.stdout) == generate.surface()
    assert not [line for line in LISTED if str(ROOT) in line or sys.prefix in line]


def test_whatever_of_the_kernel_a_line_speaks_of_is_on_the_list() -> None:
    kernel: set[str] = set()
    for path in (ROOT / "mfn_core" / "src").rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.targets[0], ast.Name)
                and node.targets[0].id == "__all__"
            ):
                kernel |= set(ast.literal_eval(node.value))
    public = {name.rpartition(".")[2] for name in names(LISTED)}
    spoken = {word for line in LISTED for word in re.findall(r"\b[A-Z][a-z]\w+", line.partition(": ")[2])}
    assert (spoken & kernel) - public == set()


# What plugins use.


SOURCES = {
    **{
        str(path.relative_to(ROOT)): sorted((path / "src").rglob("*.py"))
        for path in [*ROOT.glob("mfn_plugins/*"), ROOT / "mfn_grpc", ROOT / "examples" / "toy_backend"]
        if (path / "src").is_dir()
    },
    **{
        str(path.relative_to(ROOT)): sorted([*path.rglob("*.py"), *path.rglob("*.py.tmpl")])
        for path in [*ROOT.glob("tests/thirdparty/*_toy"), ROOT / "mfn_core" / "src" / "mfn_core" / "templates"]
    },
}
"""Plugins, those that the documentation shows and those that `mfn new` begins included."""


def used(text: str) -> Iterator[str]:
    """Full names of what a source imports of the kernel; `module.*` where it takes a module as a whole."""
    for node in ast.walk(ast.parse(re.sub(r"\$\{?\w+\}?", "x", text))):
        if isinstance(node, ast.Import):
            yield from (f"{alias.name}.*" for alias in node.names if alias.name.partition(".")[0] == "mfn_core")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "mfn_core":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", sorted(SOURCES))
def test_a_plugin_uses_nothing_of_the_kernel_that_is_not_on_the_list(package: str) -> None:
    public, found = names(LISTED), {path: set(used(path.read_text("utf-8"))) for path in SOURCES[package]}
    assert any(found.values()), "no source of it imports the kernel"
    assert [
        f"{path.relative_to(ROOT)}: {name}" for path, taken in found.items() for name in sorted(taken - public)
    ] == []


def test_what_is_not_on_the_list_would_be_found() -> None:
    text = "import mfn_core.auth\nfrom mfn_core.auth import AuthMiddleware, ROLES\nfrom mfn_core import $name, Call"
    assert set(used(text)) - names(LISTED) == {"mfn_core.auth.*", "mfn_core.auth.AuthMiddleware", "mfn_core.x"}


# What counts as a change.


P, V = "a.P: protocol", "a.V: value"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["a.f: () -> int"], []),
        ([V, "a.V.x: required int"], [V]),
        (["a.f: () -> int"], ["a.f: () -> str"]),
        (["a.f: () -> int"], ["a.f: async () -> int"]),
        (["a.f: (x: int) -> int"], ["a.f: (y: int) -> int"]),
        (["a.f: (x: int) -> int"], ["a.f: (*, x: int) -> int"]),
        (["a.f: (x: int, y: int) -> int"], ["a.f: (y: int, x: int) -> int"]),
        (["a.f: (x: int = 1) -> int"], ["a.f: (x: int = 2) -> int"]),
        (["a.f: (x: int) -> int"], ["a.f: (x: int, y: int) -> int"]),
        (["a.f: (x: int = 1) -> int"], ["a.f: (y: int = 1, x: int = 1) -> int"]),
        (["a.f: (*, x: int) -> int"], ["a.f: (*, x: int, y: int) -> int"]),
        ([V, "a.V.x: int = 1"], [V, "a.V.x: required int"]),
        ([V, "a.V.x: int = 1"], [V, "a.V.x: int = 2"]),
        ([V], [V, "a.V.x: required int"]),
        ([V], ["a.V: class"]),
        ([V], ["a.V: given value"]),
        ([P], [P, "a.P.open: () -> int"]),
        ([P], ["a.P: given protocol"]),
        ([P, "a.P.open: () -> int"], [P, "a.P.open: (x: int = 1) -> int"]),
        (["a.E: enum", "a.E.X: = 1"], ["a.E: enum", "a.E.X: = 2"]),
        (["a.h: hook (plan: Plan) -> int"], ["a.h: hook () -> int"]),
        (["a.A: = Callable[[int], int]"], ["a.A: = Callable[[int], str]"]),
    ],
)
def test_what_a_plugin_would_notice_is_a_break(before: list[str], after: list[str]) -> None:
    assert len(changes.breaks(before, after)) == 1
    assert changes.additions(before, after) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], ["a.f: () -> int"]),
        ([], [P, "a.P.open: () -> int"]),
        ([], [V, "a.V.x: required int"]),
        ([V], [V, "a.V.x: int = 1"]),
        ([V, "a.V.x: required int"], [V, "a.V.x: int = 1"]),
        (["a.V: given value"], ["a.V: given value", "a.V.x: int"]),
        (["a.P: given protocol"], ["a.P: given protocol", "a.P.more: () -> int"]),
        (["a.C: class"], ["a.C: class", "a.C.more: () -> int"]),
        (["a.E: enum"], ["a.E: enum", "a.E.X: = 1"]),
        (["a.f: (x: int) -> int"], ["a.f: (x: int, y: int = 1) -> int"]),
        (["a.f: (*, x: int) -> int"], ["a.f: (*, w: int = 1, x: int) -> int"]),
        (["a.C(): (x: int) -> None"], ["a.C(): (x: int, *, y: int = 1) -> None"]),
        (["a.h: hook () -> int"], ["a.h: hook (plan: Plan) -> int"]),
    ],
)
def test_what_no_plugin_would_notice_is_an_addition(before: list[str], after: list[str]) -> None:
    assert changes.breaks(before, after) == []
    assert set(changes.additions(before, after)) == set(after) - set(before)


async def _authenticate_twice(call: object, again: bool = False) -> None:
    return None


def _weather() -> None:
    """A hook."""


def test_changes_of_the_code_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    before = generate.surface()
    monkeypatch.delattr(Metadata, "get_all")
    monkeypatch.setattr(mfn_core.auth.Authenticator, "authenticate", _authenticate_twice)
    monkeypatch.setattr(Backend, "warm_up", lambda self: None, raising=False)
    monkeypatch.setattr(mfn_core.auth, "ROLES", ("read",))
    monkeypatch.setattr(hookspecs, "mfn_weather", _weather, raising=False)
    found = generate.surface()
    assert [line.split(": ")[:2] for line in changes.breaks(before, found)] == [
        ["removed", "mfn_core.call.Metadata.get_all"],
        ["changed", "mfn_core.auth.Authenticator.authenticate"],
        ["changed", "mfn_core.auth.ROLES"],
        ["demanded", "mfn_core.compute.Backend.warm_up"],
    ]
    assert changes.additions(before, found) == ["mfn_core.hookspecs.mfn_weather: hook () -> None"]


# Accepting.


def test_an_addition_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listing, found = tmp_path / "v1.txt", generate.surface()
    listing.write_text("\n".join(line for line in found if "unauthenticated" not in line), "utf-8")
    monkeypatch.setattr(generate, "LISTING", listing)
    assert generate.main(["--write"]) == 0
    assert generate.listed(listing.read_text("utf-8")) == found
    assert listing.read_text("utf-8").startswith("# The plugin API")
    assert capsys.readouterr().out == f"v1.txt: {len(found)} lines\n"


def test_a_removal_is_not_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listing = tmp_path / "v1.txt"
    text = "\n".join([*generate.surface(), "mfn_core.auth.authenticated: () -> bool"])
    listing.write_text(text, "utf-8")
    monkeypatch.setattr(generate, "LISTING", listing)
    assert generate.main(["--write"]) == 1
    assert listing.read_text("utf-8") == text
    assert "removed: mfn_core.auth.authenticated: () -> bool" in capsys.readouterr().err
