"""The radially averaged power spectrum of a field, and the wavelength that dominates it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["PowerSpectrum", "dominant_wavelength", "power_spectrum"]

FloatArray = npt.NDArray[np.float64]

_ROUNDING: Final = 1e-14
"""Relative to its largest value, a field that deviates no more from its mean is constant but for rounding."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PowerSpectrum:
    """Variance of a field over wave numbers."""

    wave_numbers: FloatArray
    """[K] cycles across the grid: 1, 2, … up to the corner of the spectrum, N/√2."""
    power: FloatArray
    """[K] mean of |f̂|²/N⁴ over the modes of each ring, in the square of the field's unit."""
    modes: npt.NDArray[np.int64]
    """[K] modes of each ring; `power · modes`, summed, is the variance of the field."""
    grid_size: int

    @property
    def variance(self) -> FloatArray:
        """[K] what each ring contributes to the variance of the field."""
        return np.asarray(self.power * self.modes)

    @property
    def wavelengths(self) -> FloatArray:
        """[K] in cells."""
        return np.asarray(self.grid_size / self.wave_numbers)


def power_spectrum(field: npt.ArrayLike) -> PowerSpectrum:
    """The spectrum of a square field [N, N] of finite numbers, taken to be periodic; its mean does not count.

    A mode with wave vector (k_x, k_y), in cycles across the grid, belongs to the ring of the integer nearest to its
    length. Raises `ValueError` for another shape, N below 2, or numbers that are not finite.
    """
    values = np.asarray(field, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.shape[0] < 2:
        raise ValueError(f"a spectrum takes a square matrix of at least 2 × 2 cells, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("a spectrum takes finite numbers, got NaN or infinity")
    n = values.shape[0]
    transform = np.fft.fft2(values - values.mean())
    cycles = np.fft.fftfreq(n, 1.0 / n)
    rings = np.rint(np.hypot(cycles[:, np.newaxis], cycles[np.newaxis, :])).astype(np.int64).ravel()
    energy = np.abs(transform).ravel() ** 2 / float(n) ** 4
    modes = np.bincount(rings)[1:]
    power = np.bincount(rings, weights=energy)[1:]
    return PowerSpectrum(
        wave_numbers=np.arange(1.0, len(modes) + 1.0),
        power=power / np.maximum(modes, 1),
        modes=modes,
        grid_size=n,
    )


def dominant_wavelength(field: npt.ArrayLike) -> float | None:
    """The wavelength, in cells, around which the variance of a square field concentrates, or `None` for a constant one.

    From the ring that contributes most, with those beside it that contribute at least a tenth of it: N divided by the
    mean wave number, weighted by their contributions. Wavelengths are so resolved better than the rings are wide.
    Raises `ValueError` as `power_spectrum` does.
    """
    values = np.asarray(field, dtype=np.float64)
    scale = float(np.abs(values).max()) if values.size else 0.0
    spectrum = power_spectrum(values / scale if 0.0 < scale < np.inf else values)
    variance = spectrum.variance
    if variance.sum() <= _ROUNDING**2:
        return None
    peak = first = last = int(np.argmax(variance))
    while first > 0 and variance[first - 1] >= 0.1 * variance[peak]:
        first -= 1
    while last + 1 < len(variance) and variance[last + 1] >= 0.1 * variance[peak]:
        last += 1
    weights = variance[first : last + 1]
    mean = float(np.sum(weights * spectrum.wave_numbers[first : last + 1]) / weights.sum())
    return float(spectrum.grid_size / mean)
