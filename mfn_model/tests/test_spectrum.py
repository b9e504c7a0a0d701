"""Power spectra of fields, against waves and noise of known spectra."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_model import dominant_wavelength, power_spectrum


def wave(n: int, rows: int, columns: int) -> np.ndarray:
    i, j = np.indices((n, n))
    return np.cos(2 * np.pi * (rows * i + columns * j) / n)


@given(st.integers(2, 40), st.integers(0, 2**32))
def test_the_rings_add_up_to_the_variance(n: int, seed: int) -> None:
    field = np.random.default_rng(seed).normal(3.0, 2.0, (n, n))
    spectrum = power_spectrum(field)
    assert spectrum.variance.sum() == pytest.approx(field.var(), rel=1e-12)
    assert spectrum.modes.sum() == n * n - 1
    assert spectrum.wave_numbers[-1] == round(n // 2 * math.sqrt(2))
    assert spectrum.wavelengths[0] == n


@pytest.mark.parametrize(("rows", "columns"), [(1, 0), (0, 5), (16, 0), (3, 4), (12, 5)])
def test_a_plane_wave_lies_in_the_ring_of_its_length(rows: int, columns: int) -> None:
    length = math.hypot(rows, columns)
    field = -0.07 + 0.003 * wave(32, rows, columns)
    spectrum = power_spectrum(field)
    (ring,) = np.flatnonzero(spectrum.power > 1e-18)
    assert spectrum.wave_numbers[ring] == round(length)
    assert spectrum.variance[ring] == pytest.approx(field.var())
    assert dominant_wavelength(field) == pytest.approx(32 / round(length))


def test_between_two_waves_the_stronger_dominates_and_neighbours_are_weighed() -> None:
    assert dominant_wavelength(wave(64, 4, 0) + 0.2 * wave(64, 0, 20)) == pytest.approx(16.0)
    assert dominant_wavelength(wave(64, 8, 0) + wave(64, 0, 9)) == pytest.approx(64 / 8.5)


def test_it_does_not_depend_on_place_orientation_scale_or_offset() -> None:
    rng = np.random.default_rng(2)
    field = wave(48, 5, 0) + wave(48, 3, 4) + 0.1 * rng.normal(size=(48, 48))
    expected = dominant_wavelength(field)
    for other in (np.roll(field, (7, 3), (0, 1)), field.T, field[::-1], -5.0 * field, field * 1e-12 + 4e-12):
        assert dominant_wavelength(other) == pytest.approx(expected, rel=1e-9)


def test_white_noise_has_the_same_power_at_all_wave_numbers() -> None:
    n = 128
    power = power_spectrum(np.random.default_rng(1).normal(0.0, 2.0, (n, n)))
    full = power.modes > 100
    assert power.power[full] * n * n == pytest.approx(4.0, rel=0.35)
    assert np.average(power.power[full], weights=power.modes[full]) * n * n == pytest.approx(4.0, rel=0.03)


@pytest.mark.parametrize("value", [0.0, -0.07, 1e300])
def test_a_constant_field_has_no_wavelength(value: float) -> None:
    assert dominant_wavelength(np.full((9, 9), value)) is None


@pytest.mark.parametrize("shape", [(4,), (4, 5), (1, 1), (0, 0), (2, 2, 2)])
def test_what_is_no_square_field_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="square matrix"):
        power_spectrum(np.zeros(shape))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused(value: float) -> None:
    field = np.zeros((4, 4))
    field[1, 2] = value
    with pytest.raises(ValueError, match="finite"):
        dominant_wavelength(field)
