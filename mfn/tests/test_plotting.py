"""Pictures of fields."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mfn
from mfn_model import FieldSpec, FieldState

matplotlib = pytest.importorskip("matplotlib", reason="drawing needs matplotlib, an extra")


def listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture(scope="module")
def result() -> mfn.SimulationResult:
    return mfn.simulate(seed=7, grid_size=16, steps=10)


def flat(value: float, side: int = 8) -> mfn.SimulationResult:
    spec = FieldSpec(model="mycelium", grid_size=side, seed=1)
    return mfn.SimulationResult(
        spec=spec, engine="none", state=FieldState(step=3, field=np.full((side, side), value), growth_events=1)
    )


def test_a_png_is_written_at_a_readable_size(result: mfn.SimulationResult, tmp_path: Path) -> None:
    mfn.plot(result, tmp_path / "field.png")
    content = (tmp_path / "field.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    assert width >= 800
    assert height >= 800
    assert listing(tmp_path) == ["field.png"]


@pytest.mark.parametrize(("name", "start"), [("field.svg", b"<?xml"), ("field.PDF", b"%PDF")])
def test_the_suffix_chooses_the_format(result: mfn.SimulationResult, tmp_path: Path, name: str, start: bytes) -> None:
    mfn.plot(result, str(tmp_path / name))
    assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.parametrize("name", ["field.xyz", "field", "field.npy"])
def test_an_unknown_format_is_refused_with_those_that_there_are(
    result: mfn.SimulationResult, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError, match=r"known picture format; use one of: .*png.*svg"):
        mfn.plot(result, tmp_path / name)
    assert listing(tmp_path) == []


def test_a_missing_directory_is_named(result: mfn.SimulationResult, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        mfn.plot(result, tmp_path / "none" / "field.png")
    assert caught.value.filename == str(tmp_path / "none" / "field.png")


def test_cells_are_squares_in_millivolts_with_the_first_row_on_top(result: mfn.SimulationResult) -> None:
    axes = mfn.plot(result)
    (image,) = axes.get_images()
    np.testing.assert_array_equal(image.get_array(), result.field * 1000)
    assert image.origin == "upper"
    assert image.get_interpolation() == "nearest"
    assert axes.get_aspect() == 1.0
    assert axes.get_xlabel() == "column (cells)"
    assert axes.get_ylabel() == "row (cells)"
    (bar,) = axes.child_axes
    assert bar.get_ylabel() == "potential (mV)"
    first, second = axes.get_title(loc="left").splitlines()
    assert first == "mycelium, 16 × 16 cells, seed 7"
    assert second.startswith("step 10, ")
    assert second.endswith(" mV")


def test_every_part_of_a_picture_lies_inside_it(result: mfn.SimulationResult) -> None:
    for drawn in (result, flat(-0.07), mfn.simulate(grid_size=32, steps=5, jitter=True)):
        figure = mfn.plot(drawn).figure
        box = figure.get_tightbbox()  # inches
        width, height = figure.get_size_inches()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height


def test_a_few_spikes_do_not_take_the_colours_from_the_rest_and_an_arrow_says_so() -> None:
    field = np.random.default_rng(1).normal(-0.07, 0.0005, (64, 64))
    field[3, 3] = 0.04
    spec = FieldSpec(model="mycelium", grid_size=64, seed=1)
    spiked = mfn.SimulationResult(spec=spec, engine="none", state=FieldState(step=1, field=field))
    axes = mfn.plot(spiked)
    (image,) = axes.get_images()
    low, high = image.get_clim()
    assert -73 < low < -70 < high < -67
    assert image.colorbar.extend == "both"
    assert "to 40.00 mV" in axes.get_title(loc="left")


def test_a_field_of_one_value_has_a_colour() -> None:
    axes = mfn.plot(flat(-0.07, side=1))
    (image,) = axes.get_images()
    low, high = image.get_clim()
    assert low < -70.0 < high
    assert "1 growth event," in axes.get_title(loc="left")


def test_frames_with_the_same_limits_are_comparable(result: mfn.SimulationResult) -> None:
    axes = mfn.plot(result, limits=(-95, 40))
    (image,) = axes.get_images()
    assert image.get_clim() == (-95.0, 40.0)
    assert image.colorbar.extend == "neither"


@pytest.mark.parametrize("limits", [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_limits_that_do_not_rise_are_refused(result: mfn.SimulationResult, limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="limits must be two finite potentials"):
        mfn.plot(result, limits=limits)


def test_frames_are_drawn_beside_each_other_into_given_axes(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    frames = list(mfn.stream(grid_size=8, steps=30))
    for axes, frame in zip(figure.subplots(1, 3), frames, strict=True):
        assert mfn.plot(frame, tmp_path / "frames.png", ax=axes) is axes
        assert axes.get_title(loc="left") == f"step {frame.step}"
    assert (tmp_path / "frames.png").stat().st_size > 1000


def test_axes_without_a_figure_are_refused(result: mfn.SimulationResult) -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    axes.remove()
    with pytest.raises(ValueError, match="ax belongs to no figure"):
        mfn.plot(result, ax=axes)


def test_drawing_leaves_pyplot_alone_and_simulating_leaves_matplotlib_alone(tmp_path: Path) -> None:
    code = (
        "import sys, mfn\n"
        "result = mfn.simulate(grid_size=8, steps=1)\n"
        "assert not [name for name in sys.modules if name.startswith('matplotlib')]\n"
        "mfn.plot(result, 'field.png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=tmp_path)


def test_without_matplotlib_the_error_says_how_to_install_it(
    result: mfn.SimulationResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "mycelium-fractal-net\[plot\]"'):
        mfn.plot(result)
