"""Distributions made for one test: real modules and metadata in a directory that is put on the path."""

from __future__ import annotations

import importlib
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from mfn_core import Call, Dispatcher, Metadata, Operation, Peer, Request, Shape

Install = Callable[..., None]
NewCall = Callable[..., Call]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory of packages on `sys.path`; what was imported from it is forgotten afterwards."""
    directory = tmp_path / "site"
    directory.mkdir()
    monkeypatch.syspath_prepend(directory)
    before = set(sys.modules)
    yield directory
    for name in set(sys.modules) - before:
        origin = getattr(sys.modules[name], "__file__", None)
        if origin is not None and Path(origin).is_relative_to(directory):
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def install(site: Path) -> Install:
    """Install a distribution: its name, entry points by group, and files by path."""

    def install(
        distribution: str,
        *,
        version: str = "1.2.3",
        files: Mapping[str, str],
        entry_points: Mapping[str, Mapping[str, str]] | None = None,
        summary: str = "a distribution of a test",
    ) -> None:
        for path, content in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(textwrap.dedent(content), encoding="utf-8")
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nSummary: {summary}\n", encoding="utf-8"
        )
        (info / "RECORD").write_text("".join(f"{path},,\n" for path in files), encoding="utf-8")
        lines = []
        for group, points in (entry_points or {}).items():
            lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items()), ""]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
        importlib.invalidate_caches()

    return install


@pytest.fixture
def install_plugin(install: Install) -> Install:
    """Install a plugin of one module: its entry point's name, the module's source, and the distribution's name."""

    def install_plugin(name: str, source: str, *, distribution: str | None = None) -> None:
        header = (
            "from mfn_core import ComponentSpec, NoSettings, Problem, hookimpl, setting\nfrom attrs import frozen\n"
        )
        install(
            distribution or f"dist-{name.replace('_', '-')}",
            files={f"{name}_module.py": header + textwrap.dedent(source)},
            entry_points={"mfn.plugins.v1": {name: f"{name}_module"}},
        )

    return install_plugin


@pytest.fixture
def new_call() -> NewCall:
    """Make a unary call that nobody dispatches, for what takes a call: `deadline` in seconds from now."""

    async def handler(request: StringValue, call: Call) -> StringValue:
        return request

    operation = Operation(
        service="t.S",
        method="M",
        shape=Shape.UNARY,
        request_type=StringValue,
        response_type=StringValue,
        handler=handler,
    )
    dispatcher = Dispatcher([])

    def new_call(deadline: float | None = None) -> Call:
        return Call(
            id=dispatcher.new_call_id(),
            operation=operation,
            transport="t",
            metadata=Metadata(),
            peer=Peer(address="unknown"),
            deadline=None if deadline is None else time.monotonic() + deadline,
            request=Request(),
        )

    return new_call
