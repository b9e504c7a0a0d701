"""The package: what it exports, how light it is, and that its documentation is true."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mfn


def test_every_exported_name_is_there_and_listed() -> None:
    assert mfn.__all__ == sorted(mfn.__all__)
    for name in mfn.__all__:
        assert getattr(mfn, name).__name__ == name
        assert name in dir(mfn)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'mfn' has no attribute 'simulat'"):
        mfn.simulat  # noqa: B018 - the access is the test


def test_importing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, mfn\n"
        "heavy = {'numpy', 'matplotlib', 'rich', 'grpc', 'scipy', 'click', 'pluggy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_example_of_the_package_is_true() -> None:
    assert doctest.testmod(mfn).attempted >= 3
    assert doctest.testmod(mfn).failed == 0


README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_python_of_the_readme_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="the example draws; drawing is an extra")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    said = [line.partition("  # ")[2] for line in code.splitlines() if line.startswith("print(")]
    assert capsys.readouterr().out.splitlines() == said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["field.npy", "field.png"]
