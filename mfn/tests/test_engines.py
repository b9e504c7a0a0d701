"""Which engines there are, which is taken, and what a broken one does to the others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mfn
from mfn import engines
from mfn_model import FieldSpec, SpecError

SPEC = FieldSpec(model="mycelium", grid_size=8, seed=1)

WORKING = """
from mfn_core import ComponentSpec, hookimpl
from mfn_engine_numpy.backend import NumpyBackend

class Fast(NumpyBackend):
    def speed(self, spec):
        return 1e30

@hookimpl
def mfn_backends():
    return [ComponentSpec(name="{name}", factory=lambda config, context: Fast(), summary="for a test")]
"""
LACKING = """
from mfn_core import ComponentSpec, hookimpl

def factory(config, context):
    raise RuntimeError("no device\\nwas found")

@hookimpl
def mfn_backends():
    return [ComponentSpec(name="{name}", factory=factory, summary="for a test")]
"""
SEVERAL = """
from mfn_core import ComponentSpec, hookimpl
from mfn_engine_numpy.backend import NumpyBackend

class Fast(NumpyBackend):
    def speed(self, spec):
        return 1e30

@hookimpl
def mfn_backends():
    return [
        ComponentSpec(name="cuda", factory=lambda config, context: Fast(), summary="for a test"),
        ComponentSpec(name="rocm", factory=lambda config, context: NumpyBackend(), summary="for a test"),
    ]
"""
UNIMPORTABLE = "import a_library_that_nobody_has\n"


class Site:
    """A directory on the path, in which a test installs engines."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(self, name: str, source: str) -> None:
        module = f"test_engine_{name}"
        (self.path / f"{module}.py").write_text(source.format(name=name))
        info = self.path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[mfn.plugins.v1]\nengine_{name} = {module}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    engines._load.cache_clear()
    yield Site(tmp_path)
    engines._load.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("test_engine_"):
            del sys.modules[name]


def test_installed_engines_are_listed_by_the_name_that_simulate_takes(site: Site) -> None:
    site.install("zebra", UNIMPORTABLE)
    names = mfn.available_engines()
    assert names == tuple(sorted(names))
    assert {"numpy", "zebra"} <= set(names)
    assert mfn.simulate(grid_size=8, steps=1, engine="numpy").engine == "numpy"


def test_auto_takes_the_fastest_that_supports_the_field(site: Site) -> None:
    site.install("swift", WORKING)
    assert engines.engine_for(SPEC)[0] == "swift"
    assert mfn.simulate(grid_size=8, steps=1).engine == "swift"


@pytest.mark.parametrize("source", [LACKING, UNIMPORTABLE])
def test_an_engine_that_does_not_work_is_left_out_with_a_warning(
    site: Site, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    site.install("broken", source)
    assert mfn.simulate(grid_size=8, steps=1).engine != "broken"
    (record,) = [record for record in caplog.records if "broken" in record.getMessage()]
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("engine broken is left out: ")
    assert "\n" not in record.getMessage()


@pytest.mark.parametrize(
    ("source", "reason"), [(LACKING, "RuntimeError: no device was found"), (UNIMPORTABLE, "a_library_that_nobody_has")]
)
def test_asking_for_an_engine_that_does_not_work_says_why(site: Site, source: str, reason: str) -> None:
    site.install("broken", source)
    with pytest.raises(SpecError, match="engine 'broken' does not work here: ") as caught:
        mfn.simulate(grid_size=8, steps=1, engine="broken")
    assert reason in str(caught.value)
    assert [violation.field for violation in caught.value.violations] == ["engine"]


def test_a_named_engine_is_the_only_one_that_is_imported(site: Site) -> None:
    site.install("swift", WORKING)
    mfn.simulate(grid_size=8, steps=1, engine="numpy")
    assert "test_engine_swift" not in sys.modules
    mfn.simulate(grid_size=8, steps=1, engine="swift")
    assert "test_engine_swift" in sys.modules


def test_engines_that_are_not_called_as_their_plugin_are_taken_by_their_own_names(site: Site) -> None:
    site.install("gpu", SEVERAL)
    for name in ("cuda", "rocm"):
        assert mfn.simulate(grid_size=8, steps=1, engine=name).engine == name
    assert mfn.simulate(grid_size=8, steps=1).engine == "cuda"
    for name in ("gpu", "tpu"):
        with pytest.raises(SpecError, match=f"no engine '{name}' is installed; there is: cuda, .*numpy, rocm$"):
            mfn.simulate(grid_size=8, steps=1, engine=name)


def test_of_two_engines_of_one_name_the_first_is_taken_with_a_warning(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.install("gpu", SEVERAL)
    site.install("other", SEVERAL)
    assert mfn.simulate(grid_size=8, steps=1).engine == "cuda"
    warnings = {record.getMessage() for record in caplog.records}
    assert "engine cuda of engine_other is left out: another plugin brings cuda" in warnings


def test_listing_engines_imports_none_of_them() -> None:
    code = "import sys, mfn\nassert 'numpy' in mfn.available_engines()\nassert 'mfn_engine_numpy' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", code], check=True)
