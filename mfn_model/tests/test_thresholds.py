"""Thresholds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mfn_model.thresholds import ThresholdSettings, local_mean, otsu_threshold

Values = npt.NDArray[np.float64]


def levels(seed: int, shape: tuple[int, int] = (20, 30)) -> Values:
    rng = np.random.default_rng(seed)
    return np.clip(np.where(rng.random(shape) < 0.4, rng.normal(60, 20, shape), rng.normal(170, 25, shape)), 0, 255)


def within_class_variance(values: Values, threshold: float) -> float:
    below, above = values[values <= threshold], values[values > threshold]
    return (below.size * below.var() + above.size * above.var()) / values.size


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_other_threshold_divides_into_classes_of_less_variance_than_otsu_s(seed: int, whole: bool) -> None:
    values = np.round(levels(seed, (6, 9))) if whole else levels(seed, (6, 9))
    found = otsu_threshold(values)
    least = min(within_class_variance(values, value) for value in np.unique(values)[:-1])
    assert within_class_variance(values, found) == pytest.approx(least, rel=1e-9)
    below, above = values[values <= found].max(), values[values > found].min()
    assert found == pytest.approx((below + above) / 2)


def test_otsu_agrees_with_another_implementation_on_a_picture() -> None:
    filters = pytest.importorskip("skimage.filters", reason="scikit-image is an oracle of tests alone")
    for seed in range(5):
        picture = np.round(levels(seed, (100, 120))).astype(np.uint8)
        expected = picture > filters.threshold_otsu(picture)
        assert np.array_equal(picture > otsu_threshold(picture.astype(float)), expected)


@pytest.mark.parametrize("factor", [1e-300, 1.0, 1e300])
def test_otsu_needs_no_unit(factor: float) -> None:
    values = levels(1)
    assert otsu_threshold(values * factor) == pytest.approx(otsu_threshold(values) * factor, rel=1e-12)


def test_two_values_are_divided_in_the_middle() -> None:
    assert otsu_threshold(np.array([[0.0, 0.0, 255.0]])) == 127.5


@pytest.mark.parametrize("value", [0.0, 7.5])
def test_equal_values_have_no_otsu_threshold(value: float) -> None:
    with pytest.raises(ValueError, match=r"all values are .*, and Otsu's threshold needs two; give a fixed threshold"):
        otsu_threshold(np.full((4, 4), value))


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([3, 5, 9, 31]))
@settings(max_examples=60, deadline=None)
def test_the_local_mean_is_that_of_the_window_inside_the_image(height: int, width: int, block: int) -> None:
    values = np.random.default_rng(height * 13 + width).normal(100, 30, (height, width))
    found = local_mean(values, block)
    for row in range(height):
        for column in range(width):
            window = values[
                max(0, row - block // 2) : row + block // 2 + 1, max(0, column - block // 2) : column + block // 2 + 1
            ]
            assert found[row, column] == pytest.approx(window.mean(), rel=1e-12)


def test_the_local_mean_is_another_implementation_s_far_from_the_edge() -> None:
    values = levels(3, (40, 50))
    assert local_mean(values, 7)[3:-3, 3:-3] == pytest.approx(ndimage.uniform_filter(values, 7)[3:-3, 3:-3])


def test_a_flat_image_has_no_objects_by_its_local_mean_whatever_rounding_does() -> None:
    for value in (0.1, 1 / 3, 1e9 + 0.1):
        flat = np.full((30, 30), value)
        flat[0, 0] += 1.0
        for invert in (False, True):
            mask, _, _ = ThresholdSettings(adaptive=5, invert=invert).over(flat).masks()
            assert not mask[5:, 5:].any()


def test_a_flat_window_has_no_objects_beside_what_is_bright() -> None:
    image = np.full((40, 40), 0.1)
    image[:8, :8] = 1000.0
    mask, *_ = ThresholdSettings(adaptive=5).over(image).masks()
    assert mask.any()
    assert not mask[:, 10:].any()
    assert not mask[10:].any()


def test_uneven_light_is_no_object_by_the_local_mean() -> None:
    light = np.linspace(0.0, 200.0, 100)[None, :] * np.ones((60, 1))
    spots = light.copy()
    spots[30, 10::20] += 50.0
    mask, _, _ = ThresholdSettings(adaptive=15, offset=20.0).over(spots).masks()
    assert np.argwhere(mask).tolist() == [[30, column] for column in range(10, 100, 20)]
    assert ThresholdSettings(otsu=True).over(spots).masks()[0].mean() > 0.4


def test_a_fixed_threshold_is_strict_on_either_side() -> None:
    values = np.array([[1.0, 2.0, 3.0]])
    assert ThresholdSettings(value=2.0).over(values).masks()[0].tolist() == [[False, False, True]]
    assert ThresholdSettings(value=2.0, invert=True).over(values).masks()[0].tolist() == [[True, False, False]]


@pytest.mark.parametrize("percent", [0, 25, 90, 100])
def test_a_percentile_leaves_that_share_of_the_pixels_out(percent: float) -> None:
    values = np.random.default_rng(2).permutation(1000.0 * np.arange(1000)).reshape(20, 50)
    found = ThresholdSettings(percentile=percent).over(values)
    assert found.masks()[0].mean() == pytest.approx(1 - percent / 100, abs=0.002)


def test_otsu_is_what_is_taken_where_nothing_is_given() -> None:
    values = levels(4)
    plain, named = ThresholdSettings().over(values), ThresholdSettings(otsu=True).over(values)
    assert (plain.method, plain.value) == (named.method, named.value) == ("otsu", otsu_threshold(values))


def test_otsu_s_classes_are_each_other_s_complement() -> None:
    values = np.round(levels(5))
    bright = ThresholdSettings().over(values).masks()[0]
    assert np.array_equal(ThresholdSettings(invert=True).over(values).masks()[0], ~bright)


def test_masks_stand_at_thirds_of_the_largest_excess() -> None:
    values = np.array([[0.0, 10.5, 20.0, 20.5, 30.5, 40.0]])
    low, medium, high = ThresholdSettings(value=10.0).over(values).masks()
    assert low.tolist() == [[False, True, True, True, True, True]]
    assert medium.tolist() == [[False, False, False, True, True, True]]
    assert high.tolist() == [[False, False, False, False, True, True]]


def test_a_threshold_that_nothing_exceeds_leaves_all_masks_empty() -> None:
    assert not any(mask.any() for mask in ThresholdSettings(value=99.0).over(np.ones((3, 3))).masks())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"value": 0.3}, "above 0.3 levels"),
        ({"value": 0.3, "invert": True}, "below 0.3 levels"),
        ({"percentile": 50}, "above 1.5 levels (percentile 50)"),
        ({"otsu": True}, "above 1.5 levels (Otsu)"),
        ({"adaptive": 3}, "above the mean of 3 × 3 pixels"),
        ({"adaptive": 3, "offset": 0.25, "invert": True}, "below the mean of 3 × 3 pixels by more than 0.25 levels"),
    ],
)
def test_a_threshold_says_what_it_is(arguments: dict[str, Any], words: str) -> None:
    found = ThresholdSettings(**arguments).over(np.array([[0.0, 1.0], [2.0, 3.0]]))
    assert found.words("levels") == words
    assert found.words("1") == words.replace(" levels", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"value": 1.0, "otsu": True}, "one threshold is taken, got threshold and otsu; leave out all but one"),
        ({"value": 1.0, "percentile": 5, "adaptive": 3}, "got threshold and percentile and adaptive"),
        ({"value": math.nan}, "threshold must be a finite number, got nan"),
        ({"value": "x"}, "threshold must be a finite number, got 'x'"),
        ({"percentile": -1}, "percentile must lie between 0 and 100, got -1"),
        ({"percentile": 100.5}, r"percentile must lie between 0 and 100, got 100\.5"),
        ({"adaptive": 4}, "adaptive must be an odd number of pixels of at least 3, got 4"),
        ({"adaptive": 1}, "adaptive must be an odd number of pixels of at least 3, got 1"),
        ({"adaptive": 3.0}, r"adaptive must be an odd number of pixels of at least 3, got 3\.0"),
        ({"offset": 2.0}, "offset belongs to adaptive; add the offset to the threshold instead"),
        ({"adaptive": 3, "offset": math.inf}, "offset must be a finite number, got inf"),
    ],
)
def test_thresholds_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ThresholdSettings(**arguments)
