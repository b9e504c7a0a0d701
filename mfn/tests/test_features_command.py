"""`mfn features`."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mfn.commands.features import features
from mfn.measurement import features as measure
from mfn.measurement import mask_of


def run(*arguments: object) -> Result:
    return CliRunner().invoke(features, [str(argument) for argument in arguments])


def listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A bright square on a dark ground, with some noise."""
    image = np.random.default_rng(1).normal(20.0, 3.0, (60, 80))
    image[20:40, 30:60] += 100.0
    path = tmp_path / "square.csv"
    np.savetxt(path, image, delimiter=",")
    return path


def test_json_is_what_measuring_gives(table: Path) -> None:
    outcome = run(table, "--json")
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    assert outcome.stdout.count("\n") == 1
    told = json.loads(outcome.stdout)
    assert told == measure(table).to_dict()
    expected = np.zeros((60, 80), dtype=bool)
    expected[20:40, 30:60] = True
    assert np.array_equal(mask_of(told), expected)
    assert told["features"]["max_cluster_size"] == 600.0
    low, high = told["dimension"]["interval"]
    assert low < told["dimension"]["value"] < high


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (["--threshold", "50"], {"threshold": 50.0}),
        (["--percentile", "90"], {"percentile": 90.0}),
        (["--otsu"], {"otsu": True}),
        (["--adaptive", "31", "--offset", "20"], {"adaptive": 31, "offset": 20.0}),
        (["--invert"], {"invert": True}),
        (["--scale", "0.65"], {"scale": 0.65}),
        (["--connectivity", "8", "--periodic"], {"connectivity": 8, "periodic": True}),
    ],
)
def test_every_option_is_an_argument(table: Path, options: list[str], arguments: dict[str, Any]) -> None:
    assert json.loads(run(table, "--json", *options).stdout) == measure(table, **arguments).to_dict()


def test_a_saved_field_is_measured_in_millivolts(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    np.save(tmp_path / "field.npy", rng.normal(-0.065, 0.01, (32, 32)))
    np.savez(tmp_path / "fields.npz", one=rng.normal(-0.065, 0.01, (5, 32, 32)), two=np.zeros((4, 4)))
    told = json.loads(run(tmp_path / "field.npy", "--volts", "--json").stdout)
    assert (told["unit"], told["threshold"]["value"]) == ("mV", -60.0)
    told = json.loads(run(tmp_path / "fields.npz", "--array", "one", "--volts", "--json").stdout)
    assert (told["frames"], told["features"]["dV_mean"] > 0) == (5, True)
    told = json.loads(run(tmp_path / "fields.npz", "--array", "one", "--page", "2", "--volts", "--json").stdout)
    assert (told["frames"], told["page"], told["pages"]) == (1, 2, 5)


def test_a_person_gets_a_line_for_each_thing_with_its_unit(table: Path) -> None:
    outcome = run(table, "--scale", 2)
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    lines = outcome.stdout.splitlines()
    assert lines[0] == "image             square.csv"
    assert "max_cluster_size  2400 µm²" in lines
    assert "H_entropy         " in outcome.stdout
    assert [line for line in lines if line.startswith("mask ")] == ["mask              600 pixels (12.50 %), 2400 µm²"]
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b" not in outcome.stdout


def test_an_undefined_dimension_is_told_with_its_reason_and_a_warning(table: Path) -> None:
    outcome = run(table, "--threshold", 1e6)
    assert outcome.exit_code == 0
    assert "averaged boxes    undefined: the mask is empty" in outcome.stdout
    assert "warning           D_box is undefined and stands at 0: no box holds a true cell" in outcome.stdout


def test_pictures_are_written_and_named(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib, an extra")
    overlay, fit = tmp_path / "overlay.png", tmp_path / "fit.png"
    outcome = run(table, "--overlay", overlay, "--plot", fit)
    assert outcome.exit_code == 0
    assert outcome.stdout.splitlines()[-2:] == [f"wrote {overlay}", f"wrote {fit}"]
    for path in (overlay, fit):
        assert path.read_bytes().startswith(b"\x89PNG")
    assert listing(tmp_path) == ["fit.png", "overlay.png", "square.csv"]
    assert json.loads(run(table, "--json", "--overlay", overlay).stdout)["rows"] == 60


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--threshold", "1", "--otsu"], "one threshold is taken, got threshold and otsu; leave out all but one"),
        (["--percentile", "150"], "percentile must lie between 0 and 100, got 150.0"),
        (["--adaptive", "6"], "adaptive must be an odd number of pixels of at least 3, got 6"),
        (["--offset", "3"], "offset belongs to adaptive; add the offset to the threshold instead"),
        (["--threshold", "nan"], "threshold must be a finite number, got nan"),
        (["--scale", "0"], "scale must be the µm of a pixel, 1e-12 to 1e+12, got 0.0"),
        (["--page", "2"], "the array has no page 2; there is one page, counted from 1"),
        (["--array", "a"], "an array has a name in an .npz file alone; square.csv is none"),
        (["--overlay", "x.abc"], "x.abc does not end in a known picture format; use one of: "),
    ],
)
def test_a_value_that_is_refused_is_one_clear_line_and_status_2(table: Path, arguments: list[str], said: str) -> None:
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib, an extra")
    outcome = run(table, *arguments)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    (line,) = outcome.stderr.splitlines()
    assert line.startswith(f"Error: {said}")


def test_what_would_be_written_over_is_known_before_anything_is_read(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib, an extra")
    (tmp_path / "photo.png").write_bytes(b"precious")
    (tmp_path / "link.png").symlink_to(tmp_path / "photo.png")
    photo, link, other = tmp_path / "photo.png", tmp_path / "link.png", tmp_path / "other.png"
    for arguments, said in (
        ([photo, "--overlay", photo], f"--overlay is the file of FILE, {photo}; give it a name of its own"),
        ([photo, "--plot", link], f"--plot is the file of FILE, {link}; give it a name of its own"),
        ([photo, "--overlay", other, "--plot", other], f"--plot is the file of --overlay, {other}; give it a name of"),
    ):
        outcome = run(*arguments)
        assert (outcome.exit_code, outcome.stdout) == (2, "")
        assert outcome.stderr.startswith(f"Error: {said}")
    assert photo.read_bytes() == b"precious"
    assert listing(tmp_path) == ["link.png", "photo.png"]


def test_a_name_that_is_no_text_is_drawn_and_told_with_signs_in_its_place(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib, an extra")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/colony-\xff.csv"))
    try:
        odd.write_bytes(table.read_bytes())
    except OSError as refused:
        pytest.skip(f"this file system takes no such name: {refused}")
    outcome = run(odd, "--json", "--overlay", tmp_path / "overlay.png", "--plot", tmp_path / "fit.png")
    assert outcome.exit_code == 0, outcome.output
    assert json.loads(outcome.stdout)["name"] == "colony-\ufffd.csv"


def test_values_that_cannot_be_measured_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.ones((8, 8)))
    np.save(tmp_path / "nan.npy", np.full((8, 8), np.nan))
    (tmp_path / "notes.docx").write_bytes(b"x")
    for name, said in (
        ("flat.npy", "Error: all values are 1, and Otsu's threshold needs two; give a fixed threshold"),
        ("nan.npy", "Error: a field holds finite values whose squares can be summed; 64 of 64 cells do not"),
        ("notes.docx", f"Error: {tmp_path / 'notes.docx'} does not end in a known suffix; use one of: .png"),
    ):
        outcome = run(tmp_path / name)
        assert outcome.exit_code == 2
        (line,) = outcome.stderr.splitlines()
        assert line.startswith(said)


def test_a_file_that_cannot_be_read_is_one_line_and_status_1(tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="reading pictures needs Pillow, an extra")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    (tmp_path / "broken.csv").write_text("1,2\n3,four\n")
    (tmp_path / "folder.npy").mkdir()
    for name, said in (
        ("broken.png", f"{tmp_path / 'broken.png'} is no PNG, TIFF or JPEG picture that can be read"),
        ("broken.csv", f"{tmp_path / 'broken.csv'}, line 2: could not convert string to float: 'four'"),
        ("none.png", f"{tmp_path / 'none.png'}: no such file or directory"),
        ("none.npy", f"{tmp_path / 'none.npy'}: no such file or directory"),
        ("folder.npy", f"{tmp_path / 'folder.npy'}: is a directory"),
    ):
        outcome = run(tmp_path / name)
        assert outcome.exit_code == 1, name
        assert outcome.stdout == ""
        assert outcome.stderr == f"Error: {said}\n"


def test_a_picture_that_cannot_be_written_is_known_before_anything_is_measured(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib, an extra")

    def measured(*_: object, **__: object) -> None:
        raise AssertionError("it was measured")

    monkeypatch.setattr("mfn.measurement.features", measured)
    outcome = run(table, "--plot", tmp_path / "none" / "fit.png")
    assert outcome.exit_code == 1
    assert outcome.stderr == f"Error: {tmp_path / 'none' / 'fit.png'}: no such file or directory\n"
    assert listing(tmp_path) == ["square.csv"]


def test_a_fit_that_does_not_exist_is_not_drawn_and_nothing_is_written(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib, an extra")
    outcome = run(table, "--threshold", 1e6, "--plot", tmp_path / "fit.png", "--overlay", tmp_path / "overlay.png")
    assert outcome.exit_code == 1
    assert outcome.stderr == "Error: there is no fit to draw: the mask is empty\n"
    assert listing(tmp_path) == ["square.csv"]


def test_without_pillow_or_matplotlib_it_says_how_to_install_them(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    (tmp_path / "photo.png").write_bytes(b"x")
    outcome = run(tmp_path / "photo.png")
    assert (outcome.exit_code, outcome.stderr) == (
        1,
        'Error: reading pictures needs Pillow; install it with: pip install "mycelium-fractal-net[images]"\n',
    )
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outcome = run(table, "--plot", tmp_path / "fit.png")
    assert (outcome.exit_code, outcome.stderr) == (
        1,
        'Error: drawing needs matplotlib; install it with: pip install "mycelium-fractal-net[plot]"\n',
    )


def test_an_image_that_does_not_fit_into_memory_is_one_line(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("mfn.measurement.features", too_large)
    outcome = run(table)
    assert outcome.exit_code == 1
    assert outcome.stderr == f"Error: {table} does not fit into memory; cut or shrink the image\n"


def program(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mfn_core", "features", *(str(argument) for argument in arguments)]


def test_the_installed_program_does_it(table: Path) -> None:
    done = subprocess.run(program(table, "--json"), capture_output=True, check=True, encoding="utf-8")
    assert done.stderr == ""
    assert json.loads(done.stdout) == measure(table).to_dict()


def test_a_terminal_gets_a_table(table: Path) -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "LINES": "60", "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        program(table), stdin=subprocess.DEVNULL, stdout=follower, stderr=follower, env=environment
    ) as process:
        os.close(follower)
        seen = b""
        try:
            while chunk := os.read(leader, 65536):
                seen += chunk
        except OSError:  # Linux says that the other end is closed in this way
            pass
        finally:
            os.close(leader)
        assert process.wait() == 0
    text = seen.decode()
    assert "\x1b[1m" in text
    assert "averaged boxes" in text
    assert "max_cluster_size" in text


def test_help_needs_neither_numpy_nor_pillow_nor_matplotlib() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from mfn.commands.features import features\n"
        "assert CliRunner().invoke(features, ['--help']).exit_code == 0\n"
        "heavy = {'numpy', 'PIL', 'matplotlib', 'rich', 'scipy', 'mfn_model'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_names_every_option() -> None:
    text = run("--help").stdout
    for option in ("--threshold", "--percentile", "--otsu", "--adaptive", "--invert", "--scale", "--page", "--json"):
        assert option in text
