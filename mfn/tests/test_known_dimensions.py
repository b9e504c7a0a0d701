"""`mfn features FILE` on pictures of sets whose dimension is known, drawn by Pillow, and wavelengths of a pattern."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import mfn
from mfn.commands.features import features
from mfn_model import FieldSpec, dominant_wavelength, fastest_growing_wavelength

Image = pytest.importorskip("PIL.Image", reason="pictures are read with Pillow, an extra")
ImageDraw = pytest.importorskip("PIL.ImageDraw", reason="pictures are read with Pillow, an extra")

Corner = tuple[float, float]


def dimension(picture: object, directory: Path) -> float:
    """What the command says of the picture."""
    file = directory / "picture.png"
    picture.save(file)  # type: ignore[attr-defined]  # a Pillow image; Pillow may be missing
    outcome = CliRunner().invoke(features, [str(file), "--threshold", "100", "--json"])
    assert outcome.exit_code == 0, outcome.stderr
    told = json.loads(outcome.stdout)
    assert told["dimension"] == told["dimensions"]["nested_boxes"]
    value = told["dimension"]["value"]
    assert isinstance(value, float)
    return value


def lines(side: int, corners: Iterable[Corner]) -> object:
    """A polygonal chain, one pixel wide, as Pillow draws it."""
    picture = Image.new("L", (side, side))
    ImageDraw.Draw(picture).line([*corners], fill=255, width=1)
    return picture


def koch(begin: Corner, end: Corner) -> list[Corner]:
    """Corners of Koch's curve from point to point, with edges shorter than a pixel and a half."""
    (x, y), dx, dy = begin, (end[0] - begin[0]) / 3, (end[1] - begin[1]) / 3
    if math.hypot(dx, dy) < 0.5:
        return [begin, end]
    one, other = (x + dx, y + dy), (x + 2 * dx, y + 2 * dy)
    peak = (one[0] + dx / 2 + dy * math.sqrt(0.75), one[1] + dy / 2 - dx * math.sqrt(0.75))
    parts = [koch(*each) for each in ((begin, one), (one, peak), (peak, other), (other, end))]
    return [corner for part in parts for corner in part[:-1]] + [end]


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ((0, 1300), (2047, 1300)),
        ((10, 2040), (2030, 2040)),
        ((100, 1800), (1900, 1500)),
        ((300, 40), (310, 1990)),
        ((1700, 300), (200, 1500)),
    ],
    ids=["across", "at the foot", "slanted", "upright", "askew"],
)
def test_a_koch_curve_drawn_in_2048_pixels_has_its_dimension(tmp_path: Path, begin: Corner, end: Corner) -> None:
    found = dimension(lines(2048, koch(begin, end)), tmp_path)
    assert found == pytest.approx(math.log(4) / math.log(3), abs=0.03)


def test_a_koch_snowflake_has_the_dimension_of_its_sides(tmp_path: Path) -> None:
    left, right, foot = (224.0, 600.0), (1824.0, 600.0), (1024.0, 600.0 + 1600.0 * math.sqrt(0.75))
    outline = koch(left, right) + koch(right, foot) + koch(foot, left)
    assert dimension(lines(2048, outline), tmp_path) == pytest.approx(math.log(4) / math.log(3), abs=0.03)


@pytest.mark.parametrize("side", [512, 1024])
def test_a_sierpinski_triangle_has_its_dimension(tmp_path: Path, side: int) -> None:
    picture = Image.new("L", (side, side))
    draw = ImageDraw.Draw(picture)

    def fill(corners: list[Corner]) -> None:
        (ax, ay), (bx, by), (cx, cy) = corners
        if abs(bx - ax) < 1:
            draw.polygon(corners, fill=255)
            return
        ab, bc, ca = ((ax + bx) / 2, (ay + by) / 2), ((bx + cx) / 2, (by + cy) / 2), ((cx + ax) / 2, (cy + ay) / 2)
        for part in ([corners[0], ab, ca], [ab, corners[1], bc], [ca, bc, corners[2]]):
            fill(part)

    fill([(0, side - 40), (side - 1, side - 40), (side / 2, side - 40 - side * math.sqrt(0.75))])
    assert dimension(picture, tmp_path) == pytest.approx(math.log(3) / math.log(2), abs=0.03)


@pytest.mark.parametrize("side", [729, 1000])
def test_a_sierpinski_carpet_has_its_dimension(tmp_path: Path, side: int) -> None:
    picture = Image.new("L", (side, side), color=255)
    draw = ImageDraw.Draw(picture)
    for level in range(1, 7):
        holes, edge = 3 ** (level - 1), side / 3**level
        for row in range(holes):
            for column in range(holes):
                left, top = round((3 * column + 1) * edge), round((3 * row + 1) * edge)
                right, bottom = round((3 * column + 2) * edge) - 1, round((3 * row + 2) * edge) - 1
                if right >= left and bottom >= top:
                    draw.rectangle((left, top, right, bottom), fill=0)
    assert dimension(picture, tmp_path) == pytest.approx(math.log(8) / math.log(3), abs=0.02)


@pytest.mark.parametrize("size", [(512, 512), (1000, 700)])
def test_a_full_picture_has_dimension_two(tmp_path: Path, size: tuple[int, int]) -> None:
    assert dimension(Image.new("L", size, color=255), tmp_path) == pytest.approx(2.0, abs=0.001)


@pytest.mark.parametrize(
    ("begin", "end"),
    [((0, 700), (1023, 700)), ((333, 0), (333, 1023)), ((0, 0), (1023, 1023)), ((0, 1023), (1023, 0))],
    ids=["row", "column", "falling", "rising"],
)
def test_a_line_across_the_picture_has_dimension_one(tmp_path: Path, begin: Corner, end: Corner) -> None:
    assert dimension(lines(1024, [begin, end]), tmp_path) == pytest.approx(1.0, abs=0.01)


def test_a_schnakenberg_pattern_has_the_wavelength_of_the_linear_theory() -> None:
    expected = fastest_growing_wavelength(FieldSpec(model="schnakenberg", grid_size=96, seed=1))
    assert expected is not None
    found = [
        dominant_wavelength(
            mfn.simulate(model="schnakenberg", engine="numpy", grid_size=96, seed=seed, steps=1500).field
        )
        for seed in (1, 2)
    ]
    assert np.mean([each or 0.0 for each in found]) == pytest.approx(expected, rel=0.10)
