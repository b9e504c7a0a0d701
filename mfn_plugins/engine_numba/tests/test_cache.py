"""Compiled code on disk: found again, never trusted, and done without where it cannot be."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from numba.core import config

from mfn_engine_numba import NumbaBackend, _cache
from mfn_engine_numba._cache import ModuleCache, default_directory
from mfn_model import mycelium_spec, reference

as_root = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give files away")
not_as_root = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write anywhere")


def source(number: int) -> Callable[[bool], str]:
    """A module as small as can be, whose function adds a number."""

    def text(kept: bool) -> str:
        name = "kept_entry" if kept else "entry"
        return (
            f"from mfn_engine_numba._numba import {name} as entry\n\n\n"
            f'@entry("int64(int64)")\ndef add(value):\n    return value + {number}\n'
        )

    return text


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "kept"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that has made no module yet, as far as the cache knows."""
    monkeypatch.setattr(_cache, "_modules", {})
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("mfn_numba_"):
            del sys.modules[name]


def again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a new process would begin."""
    monkeypatch.setattr(_cache, "_modules", {})


def loaded(module: ModuleType) -> bool:
    """Whether the function was found on disk instead of compiled."""
    return bool(module.add.stats.cache_hits)


# What is kept.


def test_a_module_is_kept_and_loaded_by_whoever_comes_next(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ModuleCache(directory).module(source(1))
    assert first.add(1) == 2
    assert not loaded(first)
    again(monkeypatch)
    second = ModuleCache(directory).module(source(1))
    assert second is not first
    assert second.add(1) == 2
    assert loaded(second)


def test_a_module_is_made_once_in_a_process(directory: Path) -> None:
    cache = ModuleCache(directory)
    assert cache.module(source(1)) is cache.module(source(1))
    assert ModuleCache(directory).module(source(1)) is cache.module(source(1))


def test_modules_of_different_content_stand_beside_each_other(directory: Path) -> None:
    cache = ModuleCache(directory)
    assert [cache.module(source(number)).add(0) for number in (1, 2, 3)] == [1, 2, 3]
    assert len(list(directory.glob("mfn_numba_*.py"))) == 3


def test_nothing_that_was_written_in_part_remains(directory: Path) -> None:
    ModuleCache(directory).module(source(1))
    assert {path.suffix or path.name for path in directory.iterdir()} == {".py", ".lock", "__pycache__"}


def test_a_directory_is_made_for_this_user_alone(tmp_path: Path) -> None:
    cache = ModuleCache(tmp_path / "new" / "deeper")
    assert cache.directory == tmp_path / "new" / "deeper"
    assert stat.S_IMODE(cache.directory.stat().st_mode) == 0o700


def test_the_default_is_the_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "mfn" / "numba"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/paths/are/ignored")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_directory() == tmp_path / ".cache" / "mfn" / "numba"


@pytest.mark.slow
def test_processes_that_begin_at_the_same_time_do_not_disturb_each_other(directory: Path) -> None:
    # Each waits for the other one before it begins.
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom mfn_engine_numba._cache import ModuleCache\n"
        "from test_cache import source\n"
        "here, me, other = Path(sys.argv[1]), sys.argv[2], sys.argv[3]\n"
        "(here.parent / me).touch()\n"
        "while not (here.parent / other).exists():\n    time.sleep(0.001)\n"
        "cache = ModuleCache(here)\nassert cache.directory == here\n"
        "made = [cache.module(source(number)) for number in (1, 2, 3)]\n"
        "print([module.add(0) for module in made], sum(bool(module.add.stats.cache_hits) for module in made))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(directory), *names],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for names in (("a", "b"), ("b", "a"))
    ]
    found = 0
    for process in running:
        out, problems = process.communicate(timeout=100)
        assert process.returncode == 0, problems
        assert out.startswith("[1, 2, 3] ")
        assert "compiled anew" not in problems
        assert "not kept" not in problems
        found += int(out.split()[-1])
    assert found == 3  # each was compiled by one process and loaded by the other


# What is not trusted.


def test_a_file_that_was_altered_is_not_run_and_written_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ModuleCache(directory).module(source(1))
    (path,) = directory.glob("mfn_numba_*.py")
    kept = path.read_text()
    for planted in ("raise SystemExit('planted')\n", kept.replace("value + 1", "value + 7"), ""):
        path.write_text(planted)
        again(monkeypatch)
        with caplog.at_level(logging.WARNING):
            assert ModuleCache(directory).module(source(1)).add(1) == 2
        assert "is not what was written there" in caplog.text
        assert path.read_text() == kept


def test_a_link_in_place_of_a_file_is_replaced(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ModuleCache(directory).module(source(1))
    (path,) = directory.glob("mfn_numba_*.py")
    elsewhere = tmp_path / "elsewhere.py"
    elsewhere.write_text(path.read_text())
    path.unlink()
    path.symlink_to(elsewhere)
    again(monkeypatch)
    assert ModuleCache(directory).module(source(1)).add(1) == 2
    assert not path.is_symlink()


@as_root
def test_a_file_of_somebody_else_is_replaced(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ModuleCache(directory).module(source(1))
    (path,) = directory.glob("mfn_numba_*.py")
    os.chown(path, 12345, 12345)
    again(monkeypatch)
    assert ModuleCache(directory).module(source(1)).add(1) == 2
    assert path.stat().st_uid == os.getuid()


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize(
    "damage", [lambda held: held[: len(held) // 2], lambda held: b"", lambda held: b"x" * len(held)]
)
def test_compiled_code_that_is_damaged_is_compiled_anew_and_kept(
    directory: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, damage: Callable[[bytes], bytes]
) -> None:
    ModuleCache(directory).module(source(1))
    damaged = list(directory.rglob(f"*{suffix}"))
    assert damaged
    for path in damaged:
        path.write_bytes(damage(path.read_bytes()))
    again(monkeypatch)
    module = ModuleCache(directory).module(source(1))
    assert module.add(1) == 2
    assert not loaded(module)
    again(monkeypatch)
    module = ModuleCache(directory).module(source(1))
    assert module.add(1) == 2
    assert loaded(module)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o1777])
def test_a_directory_that_others_may_write_to_is_not_used(
    directory: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    directory.chmod(mode)
    cache = ModuleCache(directory)
    assert cache.directory is None
    assert "is writable by others" in caplog.text
    assert cache.module(source(1)).add(1) == 2
    assert not list(directory.iterdir())


def test_a_directory_below_one_that_everybody_may_write_to_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    assert ModuleCache(shared / "kept").directory is None
    assert "is writable by everybody" in caplog.text
    shared.chmod(0o1777)  # nobody can rename what is not theirs
    assert ModuleCache(shared / "kept").directory == shared / "kept"


@as_root
def test_a_directory_of_somebody_else_is_not_used(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.chown(directory, 12345, 12345)
    assert ModuleCache(directory).directory is None
    assert "belongs to user 12345" in caplog.text
    above = directory.parent / "above"
    (above / "kept").mkdir(parents=True, mode=0o700)
    os.chown(above, 12345, 12345)
    assert ModuleCache(above / "kept").directory is None
    assert "who could replace what is in it" in caplog.text


def test_the_directory_that_numba_was_told_of_must_be_safe_too(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o777)
    monkeypatch.setattr(config, "CACHE_DIR", str(elsewhere))
    assert ModuleCache(directory).directory is None
    assert "elsewhere is writable by others" in caplog.text


# What is done without.


@not_as_root
def test_a_directory_that_cannot_be_written_to_is_done_without(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory.chmod(0o500)
    cache = ModuleCache(directory)
    assert cache.directory is None
    assert cache.module(source(1)).add(1) == 2
    assert "every process compiles its own" in caplog.text


def test_a_directory_that_cannot_be_made_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    cache = ModuleCache(tmp_path / "file" / "below")
    assert cache.directory is None
    assert cache.module(source(1)).add(1) == 2
    assert caplog.text.count("every process compiles its own") == 1


def test_a_disk_that_is_full_is_done_without(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ModuleCache(directory)
    assert cache.directory == directory

    def full(*arguments: object, **further: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_cache.tempfile, "mkstemp", full)
    assert cache.module(source(1)).add(1) == 2
    assert "No space left on device" in caplog.text


def test_source_that_is_wrong_is_not_remembered(directory: Path) -> None:
    cache, before = ModuleCache(directory), set(sys.modules)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cache.module(lambda kept: f"kept = {kept}\n1 / 0\n")
    assert not {name for name in set(sys.modules) - before if name.startswith("mfn_numba_")}


# Kernels.


@pytest.mark.slow
@pytest.mark.timeout(300)  # what is compiled first takes a while
def test_a_session_of_a_kernel_that_was_kept_opens_within_half_a_second(kernels: Path) -> None:
    # In a process of its own, after what Numba does once, whatever it compiles.
    NumbaBackend(cache_dir=kernels).compile("mycelium")
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom numba import njit\n"
        "from mfn_engine_numba import NumbaBackend\nfrom mfn_model import mycelium_spec\n"
        "njit('int64(int64)')(lambda value: value)\n"
        "begun = time.process_time()\n"
        "session = NumbaBackend(cache_dir=Path(sys.argv[1])).open(mycelium_spec())\n"
        "print(time.process_time() - begun)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(kernels)], capture_output=True, text=True, check=True, timeout=120
    )
    assert float(done.stdout) < 0.5


@pytest.mark.slow
@pytest.mark.timeout(300)  # everything is compiled
def test_a_backend_that_cannot_keep_kernels_computes_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    session = NumbaBackend(cache_dir=tmp_path / "file").open(mycelium_spec(grid_size=8, turing_enabled=False))
    assert "every process compiles its own" in caplog.text
    expected = reference(mycelium_spec(grid_size=8, turing_enabled=False), 0)
    assert (session.state().field == expected.field).all()


OF_ANOTHER_PROCESS = """
import sys
from pathlib import Path

import numpy as np

from mfn_core.compute import NeverCancelled
from mfn_engine_numba import NumbaBackend
from mfn_model import mycelium_spec, reference

backend = NumbaBackend(cache_dir=Path(sys.argv[1]))
for turing in sys.argv[2:]:
    spec = mycelium_spec(seed=42, grid_size=16, turing_enabled=turing == "with", spike_probability=1.0)
    session = backend.open(spec)
    session.step(64, NeverCancelled())
    assert np.array_equal(session.state().field, reference(spec, 64).field), sys.argv[2:]
"""


@pytest.mark.slow
@pytest.mark.timeout(300)  # kernels are compiled
def test_kernels_that_several_processes_have_kept_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    for kernels in (["with"], ["without"], ["with", "without"], ["without", "with"]):
        command = [sys.executable, "-c", OF_ANOTHER_PROCESS, str(tmp_path / "kernels"), *kernels]
        subprocess.run(command, check=True, timeout=200)
