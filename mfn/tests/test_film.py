"""Film strips and animations."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import mfn
from mfn_model import FieldSpec, FieldState

matplotlib = pytest.importorskip("matplotlib", reason="drawing needs matplotlib, an extra")


@pytest.fixture(scope="module")
def frames() -> list[mfn.SimulationResult]:
    return list(mfn.stream(seed=7, grid_size=24, steps=40, every=10))


def frame(field: np.ndarray, step: int) -> mfn.SimulationResult:
    spec = FieldSpec(model="mycelium", grid_size=len(field), seed=1)
    return mfn.SimulationResult(spec=spec, engine="none", state=FieldState(step=step, field=field))


def pictures(path: Path) -> list[np.ndarray]:
    from PIL import Image

    found = []
    with Image.open(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            found.append(np.asarray(image.convert("RGB")).astype(int))
    return found


def test_a_strip_shows_every_frame_beside_the_others(frames: list[mfn.SimulationResult], tmp_path: Path) -> None:
    mfn.film_strip(frames, tmp_path / "strip.png", title="four")
    (wide,) = pictures(tmp_path / "strip.png")
    mfn.film_strip(frames[:1], tmp_path / "one.png", title="one")
    (narrow,) = pictures(tmp_path / "one.png")
    assert wide.shape[0] == narrow.shape[0]
    assert wide.shape[1] > 2.5 * narrow.shape[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "strip.png"]


def test_all_frames_share_one_scale_of_colour(tmp_path: Path) -> None:
    dark, bright = np.full((8, 8), -0.080), np.full((8, 8), -0.060)
    mfn.film_strip([frame(dark, 1), frame(bright, 2)], tmp_path / "two.png", title="two", limits=(-80.0, -60.0))
    (picture,) = pictures(tmp_path / "two.png")
    middle = picture[picture.shape[0] // 2]
    assert (middle[150] < 20).all()  # the low end of the scale is nearly black
    assert middle[420].min() > 120  # and its high end nearly white


def test_a_long_title_takes_a_second_line_instead_of_being_cut(
    frames: list[mfn.SimulationResult], tmp_path: Path
) -> None:
    for name, title in (("short", "t"), ("long", "a title of many words that one line cannot hold " * 2)):
        mfn.film_strip(frames[:1], tmp_path / f"{name}.png", title=title)
    assert pictures(tmp_path / "long.png")[0].shape[0] > pictures(tmp_path / "short.png")[0].shape[0] + 20


def test_frames_of_a_model_without_volts_are_drawn_in_its_unit(tmp_path: Path) -> None:
    from mfn._figures import Quantity

    values = [frame(np.linspace(0, 1, 64).reshape(8, 8), step) for step in (1, 2)]
    mfn.film_strip(values, tmp_path / "u.png", title="u", quantity=Quantity(label="u", unit=""))
    assert pictures(tmp_path / "u.png")[0].std() > 10


@pytest.mark.parametrize("count", [0, 13])
def test_too_few_or_too_many_frames_are_refused(count: int, frames: list[mfn.SimulationResult], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"every frame must carry its field|at most 12 frames, got 13"):
        mfn.film_strip([frames[0]] * count, tmp_path / "x.png", title="x")
    assert list(tmp_path.iterdir()) == []


def test_frames_of_two_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the frames are of different sizes"):
        mfn.film_strip([frame(np.zeros((8, 8)), 1), frame(np.zeros((9, 9)), 2)], tmp_path / "x.png", title="x")


def test_an_animation_has_a_picture_for_each_frame_and_repeats(
    frames: list[mfn.SimulationResult], tmp_path: Path
) -> None:
    from PIL import Image

    mfn.animate(frames, tmp_path / "film.gif", title="film", frames_per_second=10)
    with Image.open(tmp_path / "film.gif") as image:
        assert image.n_frames == 4
        assert image.info["loop"] == 0
        assert image.info["duration"] == 100
        image.seek(3)
        assert image.info["duration"] == 1000  # the last one rests
    shown = pictures(tmp_path / "film.gif")
    assert all(np.abs(one - other).max() > 50 for one, other in pairwise(shown))


def test_what_does_not_change_does_not_flicker(tmp_path: Path) -> None:
    field = np.random.default_rng(1).normal(-0.07, 0.002, (16, 16))
    changed = field.copy()
    changed[:8] = -0.060
    mfn.animate([frame(field, 1), frame(changed, 2)], tmp_path / "film.gif", title="t")
    first, second = pictures(tmp_path / "film.gif")
    height = first.shape[0]
    # The lower half of the field, well inside it.
    below = slice(int(height * 0.6), int(height * 0.85))
    assert np.array_equal(first[below, 30:400], second[below, 30:400])
    assert not np.array_equal(first[: height // 2], second[: height // 2])


@pytest.mark.parametrize(
    ("name", "speed", "count", "said"),
    [
        ("film.mp4", 10.0, 4, "does not end in .gif, which is the format of animations"),
        ("film.gif", 0.0, 4, "frames per second must be 0.1 to 50, got 0.0"),
        ("film.gif", float("nan"), 4, "frames per second must be 0.1 to 50, got nan"),
        ("film.gif", 51.0, 4, "frames per second must be 0.1 to 50, got 51.0"),
        ("film.gif", 10.0, 1, "an animation needs at least 2 frames, got 1"),
    ],
)
def test_an_animation_that_cannot_be_is_refused(
    name: str, speed: float, count: int, said: str, frames: list[mfn.SimulationResult], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        mfn.animate(frames[:count], tmp_path / name, title="t", frames_per_second=speed)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_is_named(frames: list[mfn.SimulationResult], tmp_path: Path) -> None:
    for draw, name in ((mfn.film_strip, "x.png"), (mfn.animate, "x.gif")):
        with pytest.raises(FileNotFoundError) as caught:
            draw(frames, tmp_path / "none" / name, title="t")
        assert caught.value.filename == str(tmp_path / "none" / name)


def test_without_matplotlib_it_says_how_to_install_it(
    frames: list[mfn.SimulationResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install \"mycelium-fractal-net\[plot\]\""):
        mfn.animate(frames, tmp_path / "x.gif", title="t")
