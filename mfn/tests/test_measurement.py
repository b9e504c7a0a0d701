"""Measuring photographs, arrays and saved fields in Python."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mfn
from mfn.measurement import Measurement, UnreadableError, features, mask_of
from mfn_model.features import component_sizes, extended_features, extract_features


@pytest.fixture(scope="module")
def photographs() -> Path:
    """Real pictures that lie in the wheel of scikit-image."""
    pytest.importorskip("PIL", reason="reading pictures needs Pillow, an extra")
    found = find_spec("skimage")
    if found is None or found.origin is None:
        pytest.skip("scikit-image brings the pictures, and only tests need it")
    return Path(found.origin).parent / "data"


def disc(radius: int, shape: tuple[int, int] = (120, 200), level: int = 200) -> npt.NDArray[np.uint8]:
    row, column = np.indices(shape)
    inside = (row - shape[0] // 2) ** 2 + (column - shape[1] // 2) ** 2 <= radius**2
    return np.where(inside, level, 20).astype(np.uint8)


def carpet(levels: int) -> npt.NDArray[np.bool_]:
    mask = np.ones((1, 1))
    for _ in range(levels):
        mask = np.kron(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]), mask)
    return mask > 0


def test_a_fractal_has_its_dimension_with_an_interval() -> None:
    measured = features(carpet(6) * 1.0)
    for name, estimate in measured.dimensions().items():
        assert estimate.value == pytest.approx(math.log(8) / math.log(3), abs=0.02), name
        assert estimate.interval is not None
        low, high = estimate.interval
        assert low < estimate.value < high or low == pytest.approx(high)


def test_an_object_is_found_and_has_its_area_perimeter_and_shape() -> None:
    measured = features(disc(40))
    assert (measured.unit, measured.threshold.method, measured.threshold.value) == ("level", "otsu", 110.0)
    assert measured.features.N_clusters_low == 1
    assert measured.features.max_cluster_size == pytest.approx(math.pi * 40**2, rel=0.01)
    assert measured.extended.L_perimeter == pytest.approx(2 * math.pi * 40, rel=0.02)
    assert measured.extended.compactness == pytest.approx(1.0, abs=0.03)
    assert measured.values.shape == measured.mask.shape == (120, 200)


def test_a_scale_turns_lengths_into_micrometres_and_areas_into_their_square() -> None:
    pixels, scaled = features(disc(40)), features(disc(40), scale=0.5)
    told, in_pixels = scaled.to_dict(), pixels.to_dict()
    assert scaled.features.max_cluster_size == pixels.features.max_cluster_size / 4
    assert scaled.extended.L_perimeter == pytest.approx(pixels.extended.L_perimeter / 2)
    assert (told["units"]["max_cluster_size"], told["units"]["L_perimeter"]) == ("µm²", "µm")
    assert told["mask"]["area"] == in_pixels["mask"]["area"] / 4
    for name, estimate in told["dimensions"].items():
        assert estimate["scales"] == [scale / 2 for scale in in_pixels["dimensions"][name]["scales"]]
        assert estimate["value"] == in_pixels["dimensions"][name]["value"]


@pytest.mark.parametrize("scale", [0, -1.0, math.nan, math.inf, "x", True, 9e-13, 1.1e12, 10**400])
def test_a_scale_that_is_none_is_refused(scale: Any) -> None:
    with pytest.raises(ValueError, match=r"scale must be the µm of a pixel, 1e-12 to 1e\+12, got"):
        features(disc(10), scale=scale)


def test_the_largest_scale_leaves_numbers_that_json_can_hold() -> None:
    for scale in (1e-12, 1e12):
        told = features(disc(33), scale=scale).to_dict()
        assert json.loads(json.dumps(told, allow_nan=False))["mask"]["area"] > 0.0


def test_the_mask_comes_back_from_json() -> None:
    measured = features(disc(33))
    told = json.loads(json.dumps(measured.to_dict(), allow_nan=False))
    assert np.array_equal(mask_of(told), measured.mask)
    assert told["mask"]["cells"] == measured.mask.sum()
    assert told["mask"]["fraction"] == pytest.approx(measured.mask.mean())


def test_json_has_everything_in_plain_values() -> None:
    told = features(disc(33), threshold=100).to_dict()
    assert told == json.loads(json.dumps(told, allow_nan=False))
    assert (told["rows"], told["columns"], told["unit"], told["length_unit"]) == (120, 200, "level", "cells")
    assert told["threshold"] == {
        "method": "fixed",
        "value": 100.0,
        "block": None,
        "offset": 0.0,
        "percentile": None,
        "invert": False,
    }
    assert len(told["features"]) == 18
    assert set(told["units"]) == set(told["features"]) | set(told["further_features"])
    assert told["dimension"] == told["dimensions"]["nested_boxes"]
    low, high = told["dimension"]["interval"]
    assert low < told["dimension"]["value"] < high


def test_a_saved_field_is_measured_as_the_simulation_measures_it(tmp_path: Path) -> None:
    result = mfn.simulate(seed=42, grid_size=48, steps=60, alpha=0.02, spike_probability=1.0)
    measured = features(result.save(tmp_path / "field.npy"), volts=True)
    assert measured.features == extract_features(result.field)
    assert measured.extended.as_dict() == pytest.approx(extended_features(result.field).as_dict())
    assert measured.dimension == result.dimension
    assert measured.features.D_box == result.fractal_dimension
    assert measured.features.V_mean == pytest.approx(result.statistics.mean_mv, rel=1e-13)
    assert (measured.unit, measured.threshold_words) == ("mV", "above -60 mV")
    assert measured.mask.sum() == result.statistics.active_cells > 0


def test_the_threshold_of_activity_has_the_same_features_however_it_is_asked_for() -> None:
    field = np.random.default_rng(1).normal(-0.055, 0.01, (40, 50))
    unasked, asked = features(field, volts=True), features(field, volts=True, threshold=-60)
    assert asked.features == unasked.features
    for name, above in (("low", -0.06), ("med", -0.05), ("high", -0.04)):
        assert getattr(unasked.features, f"N_clusters_{name}") == component_sizes(field > above).size
    another = features(field, volts=True, threshold=-60.5).features
    assert another.N_clusters_high != unasked.features.N_clusters_high


def test_a_threshold_for_potentials_is_in_millivolts() -> None:
    field = np.random.default_rng(1).normal(-0.065, 0.01, (40, 50))
    measured = features(field, volts=True, threshold=-65)
    assert np.array_equal(measured.mask, field * 1000 > -65)
    assert features(field, volts=True, invert=True).mask.mean() == pytest.approx(1 - np.mean(field > -0.06))


def test_a_history_gives_the_features_of_change_and_the_mask_of_its_last_frame(tmp_path: Path) -> None:
    frames = [frame.field for frame in mfn.stream(seed=3, grid_size=24, steps=30, every=1, spike_probability=0.9)]
    np.save(tmp_path / "history.npy", np.stack(frames))
    measured = features(tmp_path / "history.npy", volts=True)
    assert measured.features == extract_features(np.stack(frames))
    assert measured.features.dV_mean > 0
    told = measured.to_dict()
    assert (told["frames"], told["page"], told["pages"]) == (30, 30, 30)
    one = features(tmp_path / "history.npy", volts=True, page=7)
    assert one.features == extract_features(frames[6])
    assert (one.to_dict()["frames"], one.to_dict()["page"]) == (1, 7)


def test_levels_are_no_volts() -> None:
    with pytest.raises(ValueError, match="volts are stored in floating-point numbers, and array holds levels of uint8"):
        features(disc(10), volts=True)


def test_dark_objects_are_found_by_inverting() -> None:
    bright, dark = features(disc(40)), features(255 - disc(40), invert=True)
    assert np.array_equal(bright.mask, dark.mask)
    assert bright.features.N_clusters_high == dark.features.N_clusters_high == 1


def test_what_is_transparent_is_background_on_either_side() -> None:
    pixels = np.dstack([disc(40)] * 3 + [np.full((120, 200), 255, np.uint8)])
    pixels[:, :30, 3] = 0  # transparent, and white beneath
    pixels[:, :30, :3] = 255
    assert np.array_equal(features(pixels, threshold=100).mask, disc(40) > 100)
    dark = pixels.copy()
    dark[..., :3] = 255 - dark[..., :3]
    assert np.array_equal(features(dark, threshold=100, invert=True).mask, disc(40) > 155)


def test_pixels_that_are_half_transparent_count_half() -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = 200, 51
    assert features(pixels, threshold=1).values == pytest.approx(np.full((4, 4), 40.0))
    assert features(pixels, threshold=1, invert=True).values == pytest.approx(np.full((4, 4), 40.0 + 0.8 * 255))


def test_clusters_that_meet_at_corners_hang_together_when_asked() -> None:
    board = (np.indices((32, 32)).sum(axis=0) % 2) * 255.0
    assert features(board).features.N_clusters_low == 512
    assert features(board, connectivity=8).features.N_clusters_low == 1


def test_a_periodic_image_goes_on_at_the_opposite_edge() -> None:
    image = np.zeros((64, 64))
    image[:, :4], image[:, -4:] = 1.0, 1.0
    plain, periodic = features(image), features(image, periodic=True)
    assert (plain.features.N_clusters_low, periodic.features.N_clusters_low) == (2, 1)
    assert periodic.extended.L_perimeter < plain.extended.L_perimeter
    moved = features(np.roll(image, 30, axis=1), periodic=True)
    assert moved.averaged_dimension.value == pytest.approx(periodic.averaged_dimension.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 1, "otsu": True}, "one threshold is taken, got threshold and otsu"),
        ({"adaptive": 8}, "adaptive must be an odd number"),
        ({"percentile": 101}, "percentile must lie between 0 and 100"),
        ({"connectivity": 5}, "connectivity is 4 or 8, got 5"),
        ({"page": 2}, "the array has no page 2; there is one page"),
        ({"array": "field"}, "an array has a name in an .npz file alone"),
    ],
)
def test_arguments_out_of_their_bounds_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        features(disc(10), **arguments)


def test_nan_is_refused_with_its_place() -> None:
    image = np.ones((8, 9))
    image[2, 3] = math.nan
    with pytest.raises(ValueError, match=r"1 of 72 cells do not, the first nan at \(2, 3\)"):
        features(image, threshold=0.5)


def test_an_image_of_one_level_has_no_otsu_threshold_but_any_other() -> None:
    with pytest.raises(ValueError, match=r"all values are 7, and Otsu's threshold needs two; give a fixed threshold"):
        features(np.full((16, 16), 7.0))
    empty = features(np.full((16, 16), 7.0), threshold=8)
    assert empty.dimension.value is None
    assert empty.to_dict()["dimension"]["reason"] == "the mask is empty"
    assert [str(warning) for warning in empty.warnings] == [
        f"{name} is undefined and stands at 0: no box holds a true cell" for name in ("D_box", "D_r2")
    ]


def test_what_cannot_be_read_is_a_value_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("1,x")
    with pytest.raises(UnreadableError):
        features(tmp_path / "table.csv")


def test_a_measurement_is_shown_as_lines_as_a_table_and_as_html() -> None:
    from rich.console import Console

    measured = features(disc(40), scale=2.0)
    rows = measured.rows()
    assert ("threshold", "above 110 levels (Otsu)", "") in rows
    assert ("f_active", f"{measured.features.f_active:.6g}", "") in rows
    by_name = {name: (value, unit) for name, value, unit in rows}
    assert by_name["max_cluster_size"] == (f"{measured.features.max_cluster_size:.6g}", "µm²")
    assert by_name["size"][0] == "120 × 200 pixels, 240 × 400 µm"
    assert by_name["E_trend"][0] == "0, undefined: one frame has no history"
    console = Console(width=100)
    with console.capture() as captured:
        console.print(measured)
    assert all(name in captured.get() for name in by_name)
    html = measured._repr_html_()
    assert html.startswith("<table>")
    assert html.count("<tr>") == len(rows)
    assert repr(measured) == (
        "Measurement(name='array', 120 × 200, "
        f"{100 * measured.mask.mean():.2f} % above 110 levels (Otsu), "
        f"dimension={measured.averaged_dimension.value:.4f})"
    )


def test_a_name_with_markup_in_it_is_shown_as_it_is(tmp_path: Path) -> None:
    from rich.console import Console

    path = tmp_path / "[red]<b>.csv"
    path.write_text("1,2\n3,4\n")
    measured = features(path)
    console = Console(width=100)
    with console.capture() as captured:
        console.print(measured)
    assert "[red]<b>.csv" in captured.get()
    assert "[red]&lt;b&gt;.csv" in measured._repr_html_()


PHOTOGRAPHS = [
    # name, arguments, share of the mask, dimension: of segmentations that were looked at, in an overlay.
    ("coins.png", {}, (0.38, 0.40), (1.6, 1.8)),
    ("horse.png", {"invert": True}, (0.32, 0.34), (1.7, 1.9)),
    ("retina.jpg", {"adaptive": 31, "offset": 4, "invert": True}, (0.11, 0.14), (1.5, 1.8)),
    ("page.png", {"adaptive": 35, "offset": 10, "invert": True}, (0.08, 0.20), (1.4, 1.9)),
    ("microaneurysms.png", {}, (0.77, 0.80), (1.85, 2.0)),
    ("hubble_deep_field.jpg", {"percentile": 97}, (0.02, 0.04), (1.0, 1.6)),
]


@pytest.mark.parametrize(("name", "arguments", "share", "dimension"), PHOTOGRAPHS, ids=lambda value: str(value)[:22])
def test_photographs_are_measured(
    photographs: Path, name: str, arguments: dict[str, Any], share: tuple[float, float], dimension: tuple[float, float]
) -> None:
    measured = features(photographs / name, **arguments)
    assert share[0] < measured.features.f_active < share[1]
    for estimate in measured.dimensions().values():
        assert estimate.value is not None
        assert estimate.r_squared is not None
        assert estimate.r_squared > 0.95
    value = measured.averaged_dimension.value
    assert value is not None
    assert dimension[0] < value < dimension[1]
    assert json.dumps(measured.to_dict(), allow_nan=False)


def test_a_photograph_has_the_same_mask_as_by_another_implementation(photographs: Path) -> None:
    filters = pytest.importorskip("skimage.filters", reason="scikit-image is an oracle of tests alone")
    from PIL import Image

    with Image.open(photographs / "coins.png") as opened:
        coins = np.array(opened)
    assert np.array_equal(features(photographs / "coins.png").mask, coins > filters.threshold_otsu(coins))


def test_the_second_page_of_a_tiff_is_another_picture(photographs: Path) -> None:
    first, second = (features(photographs / "multipage.tif", page=page) for page in (1, 2))
    assert first.image.pages == second.image.pages == 2
    assert not np.array_equal(first.values, second.values)
    assert first.values.shape == (15, 10)


def test_measuring_needs_matplotlib_only_to_draw_and_pillow_only_for_pictures(tmp_path: Path) -> None:
    np.save(tmp_path / "field.npy", np.random.default_rng(1).random((20, 20)))
    code = (
        "import sys\n"
        "from mfn.measurement import features\n"
        "features('field.npy').to_dict()\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'matplotlib', 'PIL', 'scipy', 'skimage', 'rich', 'click'}, loaded\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=tmp_path)


class TestPictures:
    """What a measurement draws."""

    @pytest.fixture(autouse=True)
    def _matplotlib(self) -> None:
        pytest.importorskip("matplotlib", reason="drawing needs matplotlib, an extra")

    @pytest.fixture
    def measured(self) -> Measurement:
        return features(carpet(5) * 200.0, scale=1.5)

    def test_an_overlay_has_the_outline_in_colour_and_the_rest_in_grey(self) -> None:
        measured = features(disc(40))
        (image,) = measured.overlay().get_images()
        drawn = np.asarray(image.get_array())
        factor = drawn.shape[0] // 120
        assert drawn.shape == (120 * factor, 200 * factor, 3)
        coloured = np.ptp(drawn.astype(int), axis=2) > 0
        inside = np.repeat(np.repeat(measured.mask, factor, axis=0), factor, axis=1)
        assert np.array_equal(coloured, inside)
        outline = (drawn == (255, 92, 20)).all(axis=2)
        assert 0 < outline.sum() < 0.2 * inside.sum()
        assert not (outline & ~inside).any()
        # Every outline pixel is at the edge of the object: none is surrounded by it for a whole pixel.
        row, column = np.nonzero(outline)
        radius = np.hypot(row / factor - 60, column / factor - 100)
        assert radius.min() > 37
        assert radius.max() < 42

    def test_an_object_that_the_picture_cuts_has_no_outline_along_the_edge(self) -> None:
        image = np.zeros((80, 80))
        image[:40] = 1.0
        (drawn,) = (np.asarray(each.get_array()) for each in features(image).overlay().get_images())
        outline = (drawn == (255, 92, 20)).all(axis=2)
        assert not outline[:5].any()
        assert outline.any()

    def test_a_large_picture_is_reduced_and_keeps_thin_outlines(self) -> None:
        image = np.zeros((3000, 2000))
        image[1000:1002, 200:1800] = 1.0
        (drawn,) = (np.asarray(each.get_array()) for each in features(image).overlay().get_images())
        assert drawn.shape == (1000, 666, 3)
        assert (drawn == (255, 92, 20)).all(axis=2).sum() >= 500

    def test_an_overlay_is_labelled_in_pixels_or_micrometres(self, measured: Measurement) -> None:
        axes = measured.overlay()
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("x (µm)", "y (µm)")
        assert axes.get_xlim() == (0.0, 243 * 1.5)
        assert axes.get_ylim() == (243 * 1.5, 0.0)
        first, second, third = axes.get_title(loc="left").splitlines()
        assert (first, second) == ("array", "above 100 (Otsu)")
        assert third.startswith("55.5 % of the pixels, dimension 1.")
        assert features(disc(20)).overlay().get_xlabel() == "column (pixels)"

    def test_a_picture_of_one_level_and_an_empty_mask_are_drawn(self) -> None:
        axes = features(np.full((40, 40), 3.0), threshold=5).overlay()
        assert axes.get_title(loc="left").endswith("0.0 % of the pixels, dimension undefined")

    def test_the_fit_shows_points_line_and_band(self, measured: Measurement) -> None:
        counts, residuals = measured.plot().get_axes()
        estimate = measured.averaged_dimension
        names = [text.get_text() for text in counts.get_legend().get_texts()]
        assert names == [
            "95 % confidence band",
            f"slope −{estimate.value:.3f}",
            f"nested boxes ({measured.dimension.value:.3f})",
            "mean over all positions",
        ]
        points = counts.get_lines()[-1]
        assert points.get_xdata() == pytest.approx(np.array(estimate.scales) * 1.5)
        assert points.get_ydata() == pytest.approx(np.exp(estimate.entropies))
        assert residuals.get_xlabel() == "box size ε (µm)"
        assert counts.get_xscale() == counts.get_yscale() == residuals.get_xscale() == "log"
        assert counts.get_title(loc="left").startswith(f"array: dimension {estimate.value:.3f} ± ")

    def test_nothing_of_a_picture_lies_outside_or_over_another_label(self, measured: Measurement) -> None:
        long = features(disc(20, (64, 300)))
        for figure in (measured.plot(), long.plot(), measured.overlay().figure, long.overlay().figure):
            figure.draw_without_rendering()
            box = figure.get_tightbbox()
            width, height = figure.get_size_inches()
            assert 0 <= box.x0 <= box.x1 <= width
            assert 0 <= box.y0 <= box.y1 <= height
            for axes in figure.get_axes():
                labels = [label for label in axes.get_xticklabels() if label.get_text()]
                boxes = sorted((label.get_window_extent() for label in labels), key=lambda each: each.x0)
                assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))

    def test_two_sizes_have_a_line_without_a_band(self) -> None:
        image = np.zeros((8, 8))
        image[2:6, 3] = 1.0
        measured = features(image)
        assert measured.averaged_dimension.interval is None
        counts, _ = measured.plot().get_axes()
        assert "95 % confidence band" not in [text.get_text() for text in counts.get_legend().get_texts()]

    def test_an_undefined_dimension_has_no_fit_to_draw(self) -> None:
        with pytest.raises(ValueError, match="an undefined dimension has no fit to draw: the mask is empty"):
            features(np.zeros((40, 40)), threshold=1).plot()

    def test_pictures_are_written_whole_in_the_format_of_the_suffix(
        self, measured: Measurement, tmp_path: Path
    ) -> None:
        measured.overlay(tmp_path / "overlay.png")
        measured.plot(tmp_path / "fit.svg")
        assert (tmp_path / "overlay.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "fit.svg").read_bytes().startswith(b"<?xml")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["fit.svg", "overlay.png"]
        with pytest.raises(ValueError, match="known picture format"):
            measured.overlay(tmp_path / "overlay.xyz")
        with pytest.raises(FileNotFoundError):
            measured.plot(tmp_path / "none" / "fit.png")

    def test_an_overlay_is_drawn_into_given_axes(self, measured: Measurement) -> None:
        from matplotlib.figure import Figure

        axes = Figure().add_subplot()
        assert measured.overlay(ax=axes) is axes
        axes.remove()
        with pytest.raises(ValueError, match="ax belongs to no figure"):
            measured.overlay(ax=axes)

    def test_without_matplotlib_the_error_says_how_to_install_it(
        self, measured: Measurement, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        for draw in (measured.overlay, measured.plot):
            with pytest.raises(ImportError, match=r'pip install "mycelium-fractal-net\[plot\]"'):
                draw()
