"""`mfn plot`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import mfn
from mfn.commands.plot import plot

pytest.importorskip("matplotlib", reason="drawing needs matplotlib, an extra")

RUN = ("--grid", "16", "--steps", "12")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(plot, [str(argument) for argument in arguments])


def test_the_last_field_of_a_run_is_drawn(tmp_path: Path) -> None:
    outcome = run("field", tmp_path / "f.png", *RUN, "--set", "alpha=0.1", "--limits", "-75:-60")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout == f"wrote {tmp_path / 'f.png'}\n"
    mfn.plot(mfn.simulate(grid_size=16, steps=12, alpha=0.1), tmp_path / "g.png", limits=(-75, -60))
    assert (tmp_path / "f.png").read_bytes() == (tmp_path / "g.png").read_bytes()


def test_a_saved_field_is_drawn_too(tmp_path: Path) -> None:
    mfn.simulate(grid_size=16, steps=5).save(tmp_path / "field.npy")
    assert run("field", tmp_path / "f.svg", tmp_path / "field.npy").exit_code == 0
    assert (tmp_path / "f.svg").read_bytes().startswith(b"<?xml")
    np.save(tmp_path / "wide.npy", np.linspace(0, 1, 200).reshape(10, 20).astype(np.float32))
    assert run("field", tmp_path / "w.png", tmp_path / "wide.npy", "--unit", "1").exit_code == 0
    assert (tmp_path / "w.png").read_bytes().startswith(b"\x89PNG")


def test_a_strip_has_the_frames_asked_for(tmp_path: Path) -> None:
    outcome = run("strip", tmp_path / "s.png", *RUN, "--frames", 3)
    assert outcome.stdout == f"wrote {tmp_path / 's.png'}: 3 frames\n"
    assert run("strip", tmp_path / "s.png", "--grid", 8, "--steps", 2, "--frames", 5).stdout.endswith(": 2 frames\n")
    assert run("strip", tmp_path / "s.png", "--grid", 8, "--steps", 7, "--frames", 3).stdout.endswith(": 3 frames\n")


def test_a_film_is_an_animation(tmp_path: Path) -> None:
    from PIL import Image

    outcome = run("film", tmp_path / "a.gif", *RUN, "--every", 4, "--model", "mycelium_rd")
    assert outcome.stdout == f"wrote {tmp_path / 'a.gif'}: 3 frames\n"
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 3


def test_a_column_of_a_sweep_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="sweeps write Parquet, an extra")
    mfn.sweep({"alpha": "0.1,0.2"}, seeds="0:3", grid_size=8, steps=2, output=tmp_path / "sweep")
    outcome = run("sweep", tmp_path / "sweep", "V_std", tmp_path / "v.pdf", "--over", "alpha")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert (tmp_path / "v.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["field", "f.xyz"], 2, "f.xyz does not end in a known picture format"),
        (["field", "f.png", "--limits", "3"], 2, "--limits '3' is not LOW:HIGH"),
        (["field", "f.png", "--limits", "3:1"], 2, "limits must be two finite"),
        (["field", "f.png", "--set", "alpha"], 2, "--set 'alpha' is not NAME=VALUE"),
        (["field", "f.png", "--set", "alpha=0.1,0.2"], 2, "has 2 values; a picture shows one run"),
        (["field", "f.png", "--set", "steps=5"], 2, "model 'mycelium' has no parameter 'steps'"),
        (["strip", "f.png", "--set", "every=5"], 2, "model 'mycelium' has no parameter 'every'"),
        (["field", "f.png", "--set", "alpha=0.1", "--set", "alpha=0.2"], 2, "--set alpha=… is given twice; leave one"),
        (["field", "f.png", "--set", "boundary=neumann"], 2, "the boundary is no parameter; say --boundary neumann"),
        (["strip", "f.png", "--boundary", "open"], 2, "boundary 'open' is not one of model 'mycelium'"),
        (["field", "f.png", "--boundary", "open"], 2, "boundary 'open' is not one of model 'mycelium'"),
        (["field", "f.png", "--set", "alpha=0.3"], 2, "alpha is out of range"),
        (["field", "f.png", "missing.npy"], 1, "missing.npy: no such file or directory"),
        (["field", "none/f.png"], 1, "none/f.png: no such file or directory"),
        (["film", "a.mp4"], 2, "a.mp4 does not end in .gif"),
        (["film", "a.gif", "--steps", "5000"], 2, "that is 5000 frames, the bound is 2000; raise --every"),
        (["film", "a.gif", "--steps", "1"], 2, "an animation needs at least 2 frames, got 1"),
        (["strip", "s.png", "--model", "moss"], 2, "no model 'moss' is known"),
        (["sweep", "nowhere.parquet", "V_std", "v.png"], 1, "nowhere.parquet: no such file or directory"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    arguments: list[str], status: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run(*arguments)
    assert outcome.exit_code == status
    assert outcome.stdout == ""
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("Error: ")
    assert said in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no array", "is no .npy file of numbers"),
        (b"\x93NUMPY\x01\x00\x08\x00{'descr'", "is no .npy file of numbers"),
        (np.array([["a"]]), "does not hold one array of numbers"),
        (np.zeros((2, 2, 2)), "a field has rows and columns, got an array of shape (2, 2, 2)"),
        (np.full((2, 2), np.nan), "the field holds 4 values that are not finite"),
    ],
)
def test_a_file_that_is_no_field_is_refused(content: bytes | np.ndarray, said: str, tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        np.save(file, content)
    outcome = run("field", tmp_path / "f.png", file)
    assert outcome.exit_code == 2
    assert said in outcome.stderr


def test_a_picture_that_cannot_be_written_is_known_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed(*_: object, **__: object) -> None:
        raise AssertionError("it was computed")

    monkeypatch.setattr("mfn.simulation.stream", computed)
    for command, name in (("strip", "s.png"), ("film", "a.gif")):
        assert run(command, tmp_path / "none" / name).exit_code == 1
